#!/usr/bin/env bash
# Copyright The edge-anomaly Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Makes an authority, a certificate for the detector, and one for each client, by openssl:
#
#   certificates.sh DIR SERVER-NAMES CLIENT…
#   certificates.sh tls localhost,127.0.0.1,detector.edge mapper.edge
#
# SERVER-NAMES are all names and addresses, separated by commas, that mappers reach the detector by. DIR gets ca.crt,
# tls.crt and tls.key for the detector, and CLIENT.crt and CLIENT.key for each client. What is there stays: a second run
# adds clients. ca.key signs further certificates: keep it where the detector and the mappers do not have it.
set -euo pipefail
(($# >= 3)) || { sed -n '5,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dir="$1" names="$2"
shift 2
umask 077
mkdir -p "$dir"
cd "$dir"

# sign NAME FILE EXTENSIONS…: a key and a certificate of the authority for it, for a year.
sign() {
	[[ ! -e $2.crt ]] || return 0
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$2.key" -out "$2.csr"
	openssl x509 -req -in "$2.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$2.crt" \
		-extfile <(printf '%s\n' 'basicConstraints=CA:FALSE' 'keyUsage=digitalSignature' "${@:3}")
	rm "$2.csr"
}

if [[ ! -e ca.crt ]]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=external-anomaly-detector CA' \
		-addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' -keyout ca.key -out ca.crt
fi
alternatives=
for name in ${names//,/ }; do
	kind=DNS
	[[ ! $name =~ ^[0-9.]+$|: ]] || kind=IP
	alternatives+=",$kind:$name"
done
sign "${names%%,*}" tls extendedKeyUsage=serverAuth "subjectAltName=${alternatives#,}"
for client; do
	sign "$client" "$client" extendedKeyUsage=clientAuth "subjectAltName=DNS:$client"
done
chmod a+r -- *.crt # keys are the owner's only
