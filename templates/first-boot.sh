#!/bin/sh
# Runs the scriptlets of the packages, once, as if these had been installed.
# Made by Freezedry; /init calls it.
scripts=/usr/lib/freezedry/scriptlets
state=/var/lib/freezedry
log=/var/log/freezedry-firstboot.log
[ -e "$state/first-boot.done" ] && exit 0

mkdir -p "$state" /var/log
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DPKG_ROOT='' DPKG_MAINTSCRIPT_NAME=postinst
run=0 failed=0
for script in "$scripts"/*; do
    [ -x "$script" ] || continue
    name=${script##*/}
    name=${name#*-}
    case $name in
    *.postinst) set -- configure '' ;;
    *) set -- 1 ;;
    esac
    DPKG_MAINTSCRIPT_PACKAGE=${name%.*}
    export DPKG_MAINTSCRIPT_PACKAGE
    echo "== $name" >>"$log"
    # A script that waits for an answer nobody gives must not stop the boot.
    timeout 300 "$script" "$@" </dev/null >>"$log" 2>&1
    code=$?
    run=$((run + 1))
    if [ "$code" -ne 0 ]; then
        failed=$((failed + 1))
        echo "== $name failed (status $code)" >>"$log"
        echo "freezedry: the scriptlet $name failed (status $code), see $log"
    fi
done
echo "$run scriptlets ran, $failed failed" >>"$log"
echo "freezedry: $run scriptlets ran, $failed failed"
: >"$state/first-boot.done"
