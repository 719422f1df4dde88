#!/bin/sh
# Before a removal, not before an upgrade.
set -e
case "$1" in
  remove | 0) [ ! -d /run/systemd/system ] || systemctl disable --now mnq.service ;;
esac
