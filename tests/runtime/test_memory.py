"""Large arrays are mapped on their own."""

import ctypes
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys
from expedition.runtime import give_large_arrays_back

libc = ctypes.CDLL(None)
fields = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "a", "b", "c", "d", "e"]
Info = type("Info", (ctypes.Structure,), {"_fields_": [(x, ctypes.c_size_t) for x in fields]})
libc.mallinfo2.restype, libc.malloc.restype = Info, ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]

if sys.argv[1] == "with":
    give_large_arrays_back()
libc.free(libc.malloc(20 << 20))
before = libc.mallinfo2().hblks  # blocks that are mapped on their own
blocks = [libc.malloc(2 << 20) for _ in range(5)]
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(("how", "mapped"), [("with", 5), ("without", 0)])
def test_a_large_block_is_mapped_on_its_own_whatever_was_freed(how, mapped):
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("glibc is older than 2.33")
    said = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True)
    assert said.stdout.strip() == str(mapped), said.stderr
