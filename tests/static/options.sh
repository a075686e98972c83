#!/bin/sh
# The options in README.md, the manual pages and the completion are those of preload/config/options.def.
set -u
cd "$(dirname "$0")/../.."
sh tools/gen-options.sh check README.md tools/man/mmioshim.1 tools/man/libmmioshim.7 tools/completion/mmioshim.bash
