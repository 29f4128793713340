"""With what do a SuperLink and its nodes prove who they are?

The federation has an *authority* of its own, known to nobody else. It signs the certificate of the
SuperLink, which nodes hold it to over TLS; each node has a private key, whose public half the
SuperLink knows, and signs each of its requests. Private keys can be read by their owner only.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reefl_edge.errors import InputError
from reefl_edge.files import regular_file, replacing_file, write_bytes

AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
# The SuperLink speaks to its own parts by these, whatever nodes call it.
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
# Clocks of devices differ.
_BEFORE = timedelta(days=1)


def make_authority(certificate: Path, key: Path) -> None:
    """Write a new authority: its certificate, and its private key."""
    private = _new_key()
    name = _name("the authority of a federation")
    builder = (
        _builder(name, name, private, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False
        )
    )
    write_private(key, _pem(private))
    write_bytes(certificate, _signed(builder, private))


def make_server_certificate(
    certificate: Path,
    key: Path,
    *,
    authority: Path,
    authority_key: Path,
    hosts: Sequence[str],
    days: int | None = None,
) -> None:
    """Write a certificate of a SuperLink, and its private key.

    Args:
        certificate: Where it goes.
        key: Where the key goes.
        authority: The certificate of the authority.
        authority_key: Its private key, which signs.
        hosts: Names and addresses that nodes reach the SuperLink by, beside its own machine's.
        days: How long it is valid; None for a year.

    Raises:
        InputError: The authority is damaged.
    """
    signer = _read_certificate(authority)
    private = _new_key()
    names = [_general_name(host) for host in dict.fromkeys((*hosts, *_OWN_NAMES))]
    builder = (
        _builder(
            _name("the SuperLink of a federation"), signer.subject, private, days or SERVER_DAYS
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(_identifier_of(signer), critical=False)
    )
    write_private(key, _pem(private))
    write_bytes(certificate, _signed(builder, _read_key(authority_key)))


def make_node_key(key: Path, public_key: Path) -> None:
    """Write a new key of a node: the private half for it, the public half for the SuperLink."""
    private = _new_key()
    content = private.private_bytes(  # of the form that flower-supernode reads
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    write_private(key, content)
    write_bytes(
        public_key,
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def check_certificate(path: Path, *, renewed_by: str) -> None:
    """Refuse a certificate that is not valid now.

    Args:
        path: The certificate.
        renewed_by: The way to a new one, for the message.

    Raises:
        InputError: It is missing, damaged, or not valid any more or yet.
    """
    certificate = _read_certificate(path)
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        day = certificate.not_valid_after_utc.date()
        raise InputError(f"{path} expired on {day}; {renewed_by}")
    if now < certificate.not_valid_before_utc:
        day = certificate.not_valid_before_utc.date()
        raise InputError(f"{path} is not valid before {day}; is this machine's clock right?")


def hosts_of(path: Path) -> tuple[str, ...]:
    """Return the names and addresses that a certificate is for.

    Raises:
        InputError: It is missing or damaged.
    """
    extension = _read_certificate(path).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return tuple(str(name.value) for name in extension.value)


def check_key(path: Path) -> None:
    """Refuse a private key that is none, or that others may read.

    Raises:
        InputError: It is missing, damaged, or open to others.
    """
    content = regular_file(path).read_bytes()
    try:
        serialization.load_ssh_private_key(content, None)
    except ValueError as error:
        raise InputError(f"{path} is no private key of a node") from error
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise InputError(f"{path} can be read by others; close it with 'chmod 600 {path}'")


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, and never anybody else meanwhile."""
    path.unlink(missing_ok=True)  # the permissions of an old one would be kept
    with replacing_file(path) as partial:
        partial.chmod(0o600)
        partial.write_bytes(content)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE - max(timedelta(0), timedelta(days=-days)))
        .not_valid_after(now + timedelta(days=days))
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _identifier_of(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _read_certificate(path: Path) -> x509.Certificate:
    content = regular_file(path).read_bytes()
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise InputError(f"{path} is no certificate") from error


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    content = regular_file(path).read_bytes()
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InputError(f"{path} is no key on an elliptic curve")
    return key
