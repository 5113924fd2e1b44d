"""`sinsok phantom`: write a synthetic study."""

from pathlib import Path

import click

from sinsok import phantom
from sinsok.errors import UsageError
from sinsok.phantom.cases import MAX_SLICES


@click.command(name="phantom")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--case", type=click.Choice([case.value for case in phantom.Case]), required=True, help="What it shows.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another seed, another patient.")
@click.option("--slices", type=click.IntRange(1, MAX_SLICES), default=36, show_default=True)
@click.option(
    "--spacing", type=click.FloatRange(0.5, 10), metavar="MM", help="Between slices. Default: 5, less for many."
)
@click.option("--volume-ml", type=click.FloatRange(0.05, 300), metavar="ML", help="Of blood.")
@click.option("--place", type=click.Choice([place.value for place in phantom.Place]), help="Of the bleed.")
@click.option("--side", type=click.Choice([side.value for side in phantom.Side]), help="The patient's.")
@click.option("--fresh", is_flag=True, help="New UIDs: the same picture as a new study.")
def command(
    out: Path,
    case: str,
    seed: int,
    slices: int,
    spacing: float | None,
    volume_ml: float | None,
    place: str | None,
    side: str | None,
    fresh: bool,
) -> None:
    """Write a synthetic, plainly marked DICOM study into the new folder OUT.

    The same options make the same files. It is no patient, and says so in every header.
    """
    try:
        phantom.check_free(out)
        study = phantom.build(
            phantom.Case(case),
            seed,
            slices=slices,
            spacing_mm=spacing,
            volume_ml=volume_ml,
            place=phantom.Place(place) if place else None,
            side=phantom.Side(side) if side else None,
            fresh=fresh,
        )
        files = phantom.write(study, out)
    except FileExistsError as error:
        raise UsageError(f"{error}: name a new or an empty folder") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    click.echo(f"{out}: {len(files)} file{'s' * (len(files) != 1)}, case {case}, study {study.study_uid}")
    if study.truth is not None:
        x, y, z = study.truth.centroid_mm
        click.echo(
            f"blood: {study.truth.volume_ml:.1f} ml, {study.truth.place}, {study.truth.side}, "
            f"centre x {x:.0f}, y {y:.0f}, z {z:.0f} mm (to the left, to the back, to the top)"
        )
