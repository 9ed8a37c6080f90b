#!/bin/sh
# Writes the configuration of a BIND that serves as backend and primary of a box:
#   DNS over HTTPS on 127.0.0.1:8443, plain DNS and zone transfers on 127.0.0.1:5355,
#   lab.example with any name (10.0.0.1), big.policy with RULES policy rules.
#   backend.sh FOLDER RULES        then: named -f -c FOLDER/named.conf
# Names under test are no use for queries: the relay itself says that they do not exist.
set -eu
folder=$1 rules=$2
mkdir -p "$folder"
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj '/CN=doh.lab.example' -addext 'subjectAltName=DNS:doh.lab.example' \
    -addext 'basicConstraints=critical,CA:FALSE' \
    -keyout key.pem -out ca.pem 2>/dev/null
cat >example.zone <<'END'
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 10.0.0.53
* A 10.0.0.1
END
{
    printf '$TTL 60\n@ SOA ns.big.policy. hostmaster.big.policy. 1 3600 600 86400 60\n@ NS ns.big.policy.\n'
    printf 'ns A 10.0.0.53\n'
    seq -f 'n%.0f.lab.example CNAME .' 0 $((rules - 1))
} >big.zone
cat >named.conf <<END
options {
    directory "$folder";
    pid-file none;
    session-keyfile none;
    listen-on port 5355 { 127.0.0.1; };
    listen-on port 8443 tls own http default { 127.0.0.1; };
    listen-on-v6 { none; };
    recursion no;
    dnssec-validation no;
    allow-transfer { any; };
    check-names master ignore;
};
tls own { key-file "key.pem"; cert-file "ca.pem"; };
controls { };
zone "lab.example" { type primary; file "example.zone"; };
zone "big.policy" { type primary; file "big.zone"; };
END
