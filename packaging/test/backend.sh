#!/bin/sh
# Writes the configuration of a BIND that serves as backend and primary of a box:
#   DNS over HTTPS on 127.0.0.9:8443, plain DNS and zone transfers on 127.0.0.9:5355,
#   example.com with any name (10.0.0.1), big.test with RULES policy rules.
#   backend.sh FOLDER RULES        then: named -f -c FOLDER/named.conf
# BIND listens on addresses that an interface has: ip address add 127.0.0.9/32 dev lo
# Names under test are no use for queries: the relay itself says that they do not exist.
set -eu
folder=$1 rules=$2
mkdir -p "$folder"
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -subj '/CN=doh.example.test' -addext 'subjectAltName=DNS:doh.example.test' \
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
    printf '$TTL 60\n@ SOA ns.big.test. hostmaster.big.test. 1 3600 600 86400 60\n@ NS ns.big.test.\n'
    printf 'ns A 10.0.0.53\n'
    seq -f 'n%.0f.big.test.invalid CNAME .' 0 $((rules - 1))
} >big.zone
cat >named.conf <<END
options {
    directory "$folder";
    pid-file none;
    session-keyfile none;
    listen-on port 5355 { 127.0.0.9; };
    listen-on port 8443 tls own http default { 127.0.0.9; };
    listen-on-v6 { none; };
    recursion no;
    allow-transfer { any; };
    check-names master ignore;
};
tls own { key-file "key.pem"; cert-file "ca.pem"; };
controls { };
zone "example.com" { type primary; file "example.zone"; };
zone "big.test" { type primary; file "big.zone"; };
END
