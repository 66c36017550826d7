#!/usr/bin/env python3
"""Kubernetes' JSON schemas as kubeconform reads them, without a network: out of the PyPI package kubernetes-validate.

usage: kube_schemas.py PACKAGES VERSION OUT     PACKAGES is where `pip install --target` put the package
"""

import json
import pathlib
import sys


def mend(node):
    """The package's schemas refer to each other by address; kubeconform reads files beside each other."""
    if isinstance(node, dict):
        if isinstance(node.get("$id"), str):
            del node["$id"]
        if isinstance(node.get("$ref"), str):
            node["$ref"] = node["$ref"].replace("/api/_definitions.json", "_definitions.json")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        mend(child)
    return node


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    packages, version, out = sys.argv[1:]
    folder = pathlib.Path(packages) / "kubernetes_validate/kubernetes-json-schema" / f"v{version}-local-strict"
    schemas = sorted(folder.glob("*.json"))
    if not schemas:
        sys.exit(f"{folder} has no schemas")
    target = pathlib.Path(out)
    target.mkdir(parents=True, exist_ok=True)
    for schema in schemas:
        text = json.dumps(mend(json.loads(schema.read_text())), separators=(",", ":"))
        (target / schema.name).write_text(text)


if __name__ == "__main__":
    main()
