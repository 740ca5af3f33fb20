#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks and tests the plugin against the pinned llm, in the environment that PYTHON names, where ivg is installed:
#
#   PYTHON=.build/venv/bin/python bindings/llm-ivg/test.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python="$(command -v "${PYTHON:-python3}")"
python="$(cd "$(dirname "$python")" && pwd)/$(basename "$python")"
"$python" -m pip install --quiet --disable-pip-version-check --editable './bindings/llm-ivg[dev]'
cd bindings/llm-ivg
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
"$python" -m pytest
