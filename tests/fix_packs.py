"""Tool packs as their users install them: a module, and the entry point beside it."""

from pathlib import Path


def install(folder: Path, name: str, source: str) -> Path:
    """The pack `name` in a folder, which a server then finds on its path."""
    (folder / f"{name}.py").write_text(source)
    point(folder, name, f"{name}:pack")
    return folder


def point(folder: Path, name: str, target: str, version: str = "1") -> None:
    """What an installer leaves beside a package."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[ostiary.tools]\n{name} = {target}\n")
