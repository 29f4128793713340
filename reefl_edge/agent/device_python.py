"""Which Pythons of a device can an agent run on that brings none?

The device is asked: each of its Pythons says of itself whether it will do. What it cannot say, it
does not know, and will not do.
"""

from reefl_edge.agent.sources import OLDEST_PYTHON
from reefl_edge.agent.wheels import GLIBC_MINOR

# The system's own, and every version that may have been installed beside it.
NAMES = ("python3", *(f"python3.{minor}" for minor in range(OLDEST_PYTHON[1], 20)))

# Its version, if the wheels of that version fit: CPython with its lock, of 64 bits, on a C library
# that is new enough. A kernel of 64 bits may well carry a system of 32.
QUESTION = f"""
import os, struct, sys
libc = os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")
will_do = (
    sys.version_info >= {OLDEST_PYTHON}
    and sys.implementation.name == "cpython"
    and not sys.abiflags
    and struct.calcsize("P") == 8
    and (int(libc[0]), int(libc[1])) >= (2, {GLIBC_MINOR})
)
if will_do:
    print("%d.%d" % sys.version_info[:2])
"""

# Which Python runs this, and where its program lies.
SELF_DESCRIPTION = """
import os, platform
print(platform.python_version())
print(os.readlink("/proc/self/exe"))
"""
