#!/bin/bash
# Checks the signature of one message of a topic, as a CGI script or a hook of another
# server gets it on standard input, with the certificate that the server publishes.
set -euo pipefail
message=$(cat)
field() { jq -r --arg name "$1" '.[$name]' <<<"$message"; }
fetch() { # from the server, and from nowhere else
  case "$1" in
    "${AWS_ENDPOINT_URL%/}"/*) curl -sSf "$1" ;;
    *) echo "$1 is not on the server" >&2; return 1 ;;
  esac
}

dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
fetch "$(field SigningCertURL)" | openssl x509 -pubkey -noout >"$dir/key.pem"
field Signature | base64 -d >"$dir/signature"
jq -j '(if .Type == "Notification" then ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
  else ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"] end)[] as $n
  | select(has($n)) | "\($n)\n\(.[$n])\n"' <<<"$message" >"$dir/text"
digest=sha1
[ "$(field SignatureVersion)" != 2 ] || digest=sha256
openssl dgst "-$digest" -verify "$dir/key.pem" -signature "$dir/signature" "$dir/text" >/dev/null || { echo "not signed by the server" >&2; exit 1; }
if [ "$(field Type)" = SubscriptionConfirmation ]; then
  fetch "$(field SubscribeURL)" >/dev/null
  echo "confirmed: $(field TopicArn)"
else
  echo "verified: $(field Message)"
fi
