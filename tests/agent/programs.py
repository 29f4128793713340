"""Programs that stand for apt and for an installer, written into a folder for a test."""

from pathlib import Path

# Puts a package where an installer is told to; it is called as ``uv pip install ... --target DIR``.
INSTALLER = """\
#!/bin/sh
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/package-1.dist-info" && echo 'print("hello", __name__)' > "$2/package.py"
printf 'Metadata-Version: 2.1\\nName: package\\nVersion: 1\\nSummary: x\\n\\nLong' \\
  > "$2/package-1.dist-info/METADATA"
"""


def write_program(path: Path, script: str) -> Path:
    """Write a program."""
    path.write_text(script)
    path.chmod(0o755)
    return path
