#!/bin/sh
# After an installation or an upgrade, of a deb or an rpm.
set -e

if ! getent passwd mnq >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/mnq --no-create-home --shell /usr/sbin/nologin mnq
fi
mkdir -p /var/lib/mnq
chown mnq:mnq /var/lib/mnq
chmod 0700 /var/lib/mnq
chgrp mnq /etc/mnq /etc/mnq/mnq.yaml
chmod 0750 /etc/mnq

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  # An upgrade goes on where the old version was running; a first installation does not
  # start by itself, because its settings have not been looked at.
  systemctl try-restart mnq.service
fi
if [ "$1" = configure ] && [ -z "$2" ] || [ "$1" = 1 ]; then
  echo "mnq: start it with: systemctl enable --now mnq; the first start writes /var/lib/mnq/admin.env"
fi
