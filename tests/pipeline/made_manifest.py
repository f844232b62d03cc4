"""A bundle's manifest as tests need it: members of one temperature each, their nets not written."""

from collections.abc import Sequence

from pipeline.records.manifest import BundleMember, BundleNet, Combine, Manifest, TrainedOn

NET = BundleNet(file="weights/net.npz", sha256="", operations=({"op": "flatten"},))


def made_manifest(
    image_shape: Sequence[int],
    classes: int,
    temperatures: Sequence[float] = (1.0,),
    combine: Combine | None = None,
    views: Sequence[Sequence[float]] = (),
) -> Manifest:
    """Return a manifest; its members count alike unless `combine` says otherwise."""
    channels, height, width = image_shape
    count = len(temperatures)
    return Manifest(
        study="made-up",
        image_shape=(channels, height, width),
        classes=classes,
        members=tuple(
            BundleMember(name=f"m{k}", temperature=t, nets=(NET,))
            for k, t in enumerate(temperatures)
        ),
        combine=combine or Combine(method="uniform", weights=(1 / count,) * count, temperature=1.0),
        views=tuple(tuple(view) for view in views),
        data=TrainedOn(name="digits", digest="", licence=""),
        digest="0" * 64,
    )
