#!/bin/sh
# Installs what a Raspberry Pi needs to run the head of a bundle: a Python environment with isplit-edge, numpy and
# LiteRT, the loop program, and, with --service, its systemd unit. May be run again: it changes what is there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
limit_mb=150
prefix=/opt/isplit
package=
python=python3
unit_dir=/etc/systemd/system
settings=/etc/isplit-edge.env
camera=no
pictures=no
service=no

usage() {
	cat <<-END
	usage: $0 [--prefix DIR] [--package PATH_OR_NAME] [--python PYTHON] [--pictures] [--camera]
	          [--service] [--unit-dir DIR] [--settings FILE]

	  --prefix DIR        where to install (default: $prefix)
	  --package WHAT      isplit-edge: a wheel, its source directory, or a name that pip finds
	                      (default: the sources of this checkout)
	  --python PYTHON     3.11 or newer, of 64 bit (default: $python)
	  --pictures          install Pillow too, to read .png, .jpg and others; .npy files need nothing
	  --camera            let the environment see the system's picamera2 (apt install python3-picamera2)
	  --service           install the systemd unit as well; needs root
	  --unit-dir DIR      where units go (default: $unit_dir)
	  --settings FILE     the unit's settings (default: $settings); one that exists is left as it is
	END
}

fail() {
	echo "install.sh: $*" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--prefix | --package | --python | --unit-dir | --settings)
		[ $# -ge 2 ] || fail "$1 needs a value"
		name=$(echo "${1#--}" | tr - _)
		eval "$name=\$2"
		shift 2
		;;
	--camera) camera=yes; shift ;;
	--pictures) pictures=yes; shift ;;
	--service) service=yes; shift ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; fail "unknown option: $1" ;;
	esac
done

case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
if [ -z "$package" ]; then
	package=$here/../../isplit_edge
	# A name alone could be anybody's: what runs as root is never looked up on its own.
	[ -f "$package/pyproject.toml" ] ||
		fail "there are no sources of isplit-edge beside this script: --package WHEEL, the one of the same release"
fi

command -v "$python" >/dev/null || fail "$python is not installed: sudo apt install python3 python3-venv"
# The kernel of a Pi may be of 64 bit and its programs of 32: what counts is Python.
found=$("$python" -c 'import struct, sys, platform
print("%d.%d %d %s" % (*sys.version_info[:2], 8 * struct.calcsize("P"), platform.machine()))')
version=${found%% *}
bits=$(echo "$found" | cut -d " " -f 2)
machine=${found##* }
if [ "$bits" -ne 64 ]; then
	fail "this Python is of $bits bit ($machine). There is no LiteRT (ai-edge-litert) for 32-bit Arm:" \
		"install the 64-bit Raspberry Pi OS; Pi 3, 4, 5, Zero 2 W and newer run it."
fi
case $machine in
aarch64 | x86_64) ;;
*) fail "there is no LiteRT (ai-edge-litert) for $machine. It exists for 64-bit Arm (aarch64) and x86_64." ;;
esac
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	fail "Python 3.11 or newer is needed: Raspberry Pi OS 12 (bookworm) or newer. Found: $version"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
	fail "Python's venv is missing: sudo apt install python3-venv"

numpy=numpy
set --
if [ "$camera" = yes ]; then
	"$python" -c 'import picamera2' 2>/dev/null ||
		fail "this Python has no picamera2: sudo apt install python3-picamera2, and leave out --python"
	set -- --system-site-packages
	# picamera2 is compiled against the system's numpy: one of another major version would break it.
	major=$("$python" -c 'import numpy; print(numpy.__version__.split(".")[0])')
	numpy="numpy>=$major,<$((major + 1))"
fi

mkdir -p "$prefix"
"$python" -m venv --clear "$@" "$prefix/venv"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -d "$package" ]; then
	# A build leaves files beside the sources: in a copy.
	cp -R "$package" "$scratch/isplit_edge"
	rm -rf "$scratch/isplit_edge/build"
	package=$scratch/isplit_edge
fi
set -- "$package" "$numpy"
[ "$pictures" = yes ] && set -- "$@" "pillow>=10.3"
"$prefix/venv/bin/python" -m pip --disable-pip-version-check --no-cache-dir install --quiet --prefer-binary --no-compile "$@"
# A device never installs again into this environment; a later run of this script makes a new one.
"$prefix/venv/bin/python" -m pip --disable-pip-version-check uninstall --quiet --yes setuptools pip 2>/dev/null
# Compiled here, as the service cannot write there; the packages' own tests are not worth the room.
"$prefix/venv/bin/python" -m compileall -q -x '/tests/' "$prefix/venv/lib"
cp "$here/classify.py" "$here/sources.py" "$prefix"
chmod 755 "$prefix/classify.py"
"$prefix/venv/bin/python" -c 'from isplit_edge import Client; import ai_edge_litert.interpreter'

if [ "$service" = yes ]; then
	mkdir -p "$unit_dir"
	sed "s|@PREFIX@|$prefix|g; s|@SETTINGS@|$settings|g" "$here/isplit-edge.service" >"$unit_dir/isplit-edge.service"
	if [ "$camera" = yes ]; then
		mkdir -p "$unit_dir/isplit-edge.service.d"
		cp "$here/camera.conf" "$unit_dir/isplit-edge.service.d/camera.conf"
	fi
	[ -e "$settings" ] || cp "$here/isplit-edge.env" "$settings"
	echo "The unit is installed. Edit $settings, then: sudo systemctl daemon-reload && sudo systemctl enable --now isplit-edge"
fi

size_mb=$(du -sm "$prefix" | cut -f 1)
echo "Installed in $prefix for $machine, Python $version: $size_mb MB (limit: $limit_mb MB)."
if [ "$size_mb" -gt "$limit_mb" ]; then
	echo "install.sh: larger than it should be; du -sm $prefix/venv/lib/python*/site-packages/* shows what it is." >&2
	exit 1
fi
