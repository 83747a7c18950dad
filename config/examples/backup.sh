#!/bin/sh
# Write a dated archive of a folder, and keep only the newest ones: backup.sh FOLDER TARGET KEEP
set -eu

folder=$1
target=$2
keep=$3
name=$(basename "$folder")
archive="$target/$name-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"

mkdir -p "$target"
tar --exclude=__pycache__ -czf "$archive.part" "$folder"
mv "$archive.part" "$archive"
echo "wrote $archive ($(wc -c <"$archive") bytes)"

find "$target" -maxdepth 1 -name "$name-*.tar.gz" | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
    rm -- "$old"
    echo "removed $old"
done
