"""What libalpm, pacman's own library, says about dependencies.

alpm-closure.py ROOT MODE, with MODE `names` (as pactree: versions ignored) or
`versions`.  Prints, for each installed package, its name and the names of
everything it depends on in the end, sorted.
"""

import ctypes
import ctypes.util
import sys


class List(ctypes.Structure):
    pass


List._fields_ = [("data", ctypes.c_void_p), ("prev", ctypes.POINTER(List)), ("next", ctypes.POINTER(List))]
Lists = ctypes.POINTER(List)


class Depend(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("version", ctypes.c_char_p)]


alpm = ctypes.CDLL(ctypes.util.find_library("alpm"))


def function(name, result, *arguments):
    call = getattr(alpm, name)
    call.restype, call.argtypes = result, arguments
    return call


pointer, text = ctypes.c_void_p, ctypes.c_char_p
initialize = function("alpm_initialize", pointer, text, text, pointer)
local = function("alpm_get_localdb", pointer, pointer)
cache = function("alpm_db_get_pkgcache", Lists, pointer)
by_name = function("alpm_db_get_pkg", pointer, pointer, text)
name_of = function("alpm_pkg_get_name", text, pointer)
depends = function("alpm_pkg_get_depends", Lists, pointer)
satisfier = function("alpm_find_satisfier", pointer, Lists, text)
spelled = function("alpm_dep_compute_string", text, pointer)


def items(at):
    while at:
        yield at.contents.data
        at = at.contents.next


root, mode = sys.argv[1:]
error = ctypes.c_int()
handle = initialize(root.encode(), (root + "/var/lib/pacman").encode(), ctypes.addressof(error))
assert handle, error
database = local(handle)
packages = cache(database)


def needs(package):
    for depend in items(depends(package)):
        wanted = Depend.from_address(depend).name if mode == "names" else spelled(depend)
        named = by_name(database, Depend.from_address(depend).name)
        if named:  # the one of that name first, if it will do
            alone = List(named, None, None)
            named = satisfier(ctypes.pointer(alone), wanted)
        found = named or satisfier(packages, wanted)
        if found:
            yield found


for package in items(packages):
    seen, queue = {package}, [package]
    for one in queue:
        for found in needs(one):
            if found not in seen:
                seen.add(found)
                queue.append(found)
    names = sorted(name_of(one).decode() for one in seen)
    print(name_of(package).decode(), *names)
