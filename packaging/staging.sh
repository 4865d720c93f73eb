# What build-deb and build-rpm share: building the programs and laying out a folder for the packager.
# Sourced by both; it expects `set -euo pipefail`.

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$source_dir/Cargo.toml" | head -n 1)
output=$source_dir/target/packages programs='' suffix='' target='' generator=''

options() { # options ARGUMENT...: the command line, the same for both
    while [ $# -gt 0 ]; do
        case $1 in
        --output) output=${2:?--output needs a folder}; shift 2 ;;
        --programs) programs=${2:?--programs needs a folder}; shift 2 ;;
        --suffix) suffix=${2:?--suffix needs a text}; shift 2 ;;
        --target) target=${2:?--target needs a triple}; shift 2 ;;
        --generator) generator=${2:?--generator needs a program}; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
        esac
    done
    case $suffix in *[!A-Za-z0-9.+~]*) echo "$0: --suffix $suffix: only letters, digits, . + and ~" >&2; exit 2 ;; esac
}

needs() { # needs COMMAND PACKAGE...: ends with what to install
    local command=$1
    shift
    command -v "$command" >/dev/null || { echo "$0: $command is missing: apt install $*" >&2; exit 1; }
}

needs_policy_sources() {
    [ -e /usr/share/selinux/devel/Makefile ] || {
        echo "$0: SELinux's policy sources are missing: apt install selinux-policy-dev, or dnf install selinux-policy-devel" >&2
        exit 1
    }
}

# The time of the last change: with it, the same sources give the same package.
last_change() {
    git -C "$source_dir" log -1 --format=%ct 2>/dev/null || stat -c %Y "$source_dir/CHANGELOG.md"
}

# A tool of Debian's for the other machine: aarch64-linux-gnu-gcc for aarch64-unknown-linux-gnu.
cross_tool() { echo "${target/-unknown-/-}-$1"; }

build_programs() { # sets `programs`; paths of this machine do not get into them
    [ -z "$programs" ] || { programs=$(cd "$programs" && pwd); return; }
    local cargo_home=${CARGO_HOME:-$HOME/.cargo} package options=()
    export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$source_dir=/usr/src/hubd --remap-path-prefix=$cargo_home=/usr/src/cargo"
    export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$source_dir=/usr/src/hubd -ffile-prefix-map=$cargo_home=/usr/src/cargo"
    if [ -n "$target" ]; then
        options+=(--target "$target")
        local linker=CARGO_TARGET_${target//-/_}_LINKER
        export "${linker^^}=$(cross_tool gcc)"
    fi
    # One by one: together, each would get features that only the other one asked for.
    for package in hubd-helper hubd; do
        (cd "$source_dir" && cargo build --profile dist --locked -p $package ${options[@]+"${options[@]}"})
    done
    programs=${CARGO_TARGET_DIR:-$source_dir/target}${target:+/$target}/dist
}

# Name, version and licence of every crate in the two programs.
list_crates() {
    (cd "$source_dir" && for package in hubd-helper hubd; do
        cargo tree --locked --offline -p $package -e normal --prefix none --format '{p}|{l}'
    done) | sed -E 's/ \((proc-macro|\*)\)//g' | grep -v '^hubd' | awk -F'|' '
        { sub(/ \(.*/, "", $1); print $1 "  " $2 }' | sort -u
}

# The SELinux module, for the policy whose sources are on this machine: Debian's, or Fedora's on a Fedora.
compile_policy() { # compile_policy FOLDER
    local work=$1/selinux
    cp -r "$source_dir/selinux" "$work"
    make -s -C "$work" -f /usr/share/selinux/devel/Makefile hubd.pp >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
    rm -rf "$work/tmp" "$work/log"
}

# Completions come from the program itself; one for another machine does not run here, so then from a build for this one.
write_completions() { # write_completions FOLDER
    if [ -n "$target" ] && [ -z "$generator" ]; then
        (cd "$source_dir" && cargo build --locked -p hubd)
        generator=${CARGO_TARGET_DIR:-$source_dir/target}/debug/hubd
    fi
    generator=${generator:-$programs/hubd}
    mkdir "$1/completions"
    "$generator" completions bash >"$1/completions/hubd"
    "$generator" completions zsh >"$1/completions/_hubd"
    "$generator" completions fish >"$1/completions/hubd.fish"
}

lay_out() { # lay_out FOLDER: programs and everything that is installed beside them
    local folder=$1 part
    mkdir -p "$folder/programs"
    install -m 755 "$programs/hubd" "$programs"/hubd-{helper,accounts,listen,session} "$folder/programs/"
    for part in man packaging systemd README.md SECURITY.md CHANGELOG.md LICENSE; do
        cp -r "$source_dir/$part" "$folder/$part"
    done
    compile_policy "$folder"
    write_completions "$folder"
    list_crates >"$folder/crates.txt"
    [ -s "$folder/crates.txt" ] || { echo "$0: cargo does not list the crates" >&2; exit 1; }
}
