#!/bin/bash
# Small requests through one worker thread of this proxy, of haproxy and, if CHP names its program, of
# configurable-http-proxy, side by side in rounds, because machines differ and are not idle.
#
#   tests/bench/proxy.sh [ROUNDS]        needs: nginx wrk haproxy (Debian packages), cargo
#
# Ports 9290 to 9294 of the loopback interface are used; everything started is stopped at the end.
set -euo pipefail
rounds=${1:-3}
seconds=${SECONDS_EACH:-4}
connections=${CONNECTIONS:-50}
cd "$(dirname "$0")/../.."
cargo build --release -q -p hubd-proxy --example one_server
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

cat > "$work/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 100000000; client_body_temp_path $work/b; proxy_temp_path $work/p;
    fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
    server { listen 127.0.0.1:9290; location / { return 200 "a small answer\n"; } }
}
CONF
cat > "$work/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    option forwardfor
    http-reuse always
frontend f
    bind 127.0.0.1:9291
    default_backend b
backend b
    server s 127.0.0.1:9290
CONF
nginx -c "$work/nginx.conf" & pids+=($!)
haproxy -f "$work/haproxy.cfg" -db & pids+=($!)
target=${CARGO_TARGET_DIR:-target}/release/examples/one_server
"$target" 9292 127.0.0.1:9290 1 & pids+=($!)
names=(direct haproxy hubd)
ports=(9290 9291 9292)
if [ -n "${CHP:-}" ]; then
    "$CHP" --ip 127.0.0.1 --port 9293 --api-port 9294 --default-target http://127.0.0.1:9290 \
        --log-level error > "$work/chp.log" 2>&1 & pids+=($!)
    names+=(chp)
    ports+=(9293)
fi
for port in "${ports[@]}"; do
    for _ in $(seq 100); do
        answer=$(curl -s "http://127.0.0.1:$port/user/alice/api" || true)
        [ "$answer" = "a small answer" ] && break
        sleep 0.1
    done
    [ "$answer" = "a small answer" ] || { echo "port $port gives a wrong answer: $answer" >&2; exit 1; }
done
for round in $(seq "$rounds"); do
    line="round $round:"
    for i in "${!names[@]}"; do
        result=$(wrk -t1 -c"$connections" -d"${seconds}s" "http://127.0.0.1:${ports[$i]}/user/alice/api")
        if grep -Eq 'Non-2xx|Socket errors' <<< "$result"; then echo "$result" >&2; exit 1; fi
        rate=$(awk '/Requests\/sec/ {print $2}' <<< "$result")
        line="$line ${names[$i]} $rate/s"
    done
    echo "$line"
done
