#!/bin/sh
# Compiles a bundle's head.h and head.cc with the wire code for Cortex-M4 and Cortex-M7, and runs the check under QEMU:
#
#   qemu/check.sh BUNDLE [OUTPUT_DIR [COMPILER_FLAG...]]
#
# Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm. With the flag -DISPLIT_ASK the firmware also asks a
# gateway; QEMU then says on which pseudo-terminal its serial port is.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 BUNDLE [OUTPUT_DIR [COMPILER_FLAG...]]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
bundle=$1
out=${2:-$(mktemp -d)}
shift $(($# > 2 ? 2 : $#))
mkdir -p "$out"

build() { # core, FPU, flags
  core=$1 fpu=$2
  shift 2
  flags="-mcpu=cortex-$core -mthumb -mfloat-abi=hard -mfpu=$fpu -Os -ffunction-sections -fdata-sections"
  flags="$flags -Wall -Wextra -Wpedantic -Werror"
  set -- -I "$bundle/edge" -I "$here/../src" -I "$here" "$@"
  for name in src/isplit_wire src/isplit_code src/link src/transport_uart_mps2 qemu/startup; do
    arm-none-eabi-gcc -std=c99 $flags "$@" -c "$here/../$name.c" -o "$out/$core-$(basename $name).o"
  done
  arm-none-eabi-g++ -std=c++11 $flags "$@" -fno-exceptions -fno-rtti -c "$bundle/edge/head.cc" -o "$out/$core-head.o"
  arm-none-eabi-g++ -std=c++11 $flags "$@" -fno-exceptions -fno-rtti -c "$here/check.cc" -o "$out/$core-check.o"
  arm-none-eabi-gcc $flags -nostartfiles --specs=nano.specs -Wl,--gc-sections -T "$here/mps2.ld" \
    "$out/$core"-*.o -o "$out/check-$core.elf"
}

run() { # core, board
  echo "cortex-$1 $(arm-none-eabi-size "$out/check-$1.elf" | awk 'NR == 2 { print "text " $1 " data " $2 " bss " $3 }')"
  qemu-system-arm -M "$2" $clock -display none -monitor none -serial "$serial" -chardev stdio,id=console \
    -semihosting-config enable=on,target=native,chardev=console -kernel "$out/check-$1.elf" < /dev/null
}

# A clock of instructions tells how many there were; an answer is waited for by the real one.
serial=null clock="-icount shift=0"
case " $* " in *" -DISPLIT_ASK "*) serial=pty clock= ;; esac
build m4 fpv4-sp-d16 "$@"
build m7 fpv5-sp-d16 "$@"
run m4 mps2-an386
run m7 mps2-an500
