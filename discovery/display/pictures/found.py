"""Pictures of the found algorithm: one for each searched entry, as its family's record defines it."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from discovery.core.errors import BadInput, one_line, unknown
from discovery.display import plots
from discovery.display.pictures.loss import loss_picture
from discovery.results.learned import Learned, part_of_entries
from objectives import family_of
from objectives.family import NothingToDraw, Picture, load

LOSS = Picture(
    "objective",
    lambda found, plots: loss_picture(found),
    "Heat maps over log-ratio and advantage: the drift f above, the slope of the objective below, of what "
    "was found and of known algorithms. The tables of this section hold their means by quadrant.",
    "Above, the drift f, which is subtracted. Below, the slope d(r A − f)/dr: how hard a sample pushes its "
    "action's probability up (red) or down (blue); white is no push.",
)


def pictures_of(found: Learned) -> dict[str, Picture]:
    """The picture of each searched entry, without duplicates; for a fixed algorithm, the picture of its loss.

    The family of the part that reads the entry defines it; by default it is the picture of the loss.
    """
    parts = part_of_entries(found.spec)
    searched = [entry for entry in found.searched if entry in parts]
    own = {entry: _picture_of(entry, parts[entry].name) for entry in searched}
    pictures = own or {"loss": LOSS}
    first = {picture.name: entry for entry, picture in reversed(pictures.items())}
    return {entry: picture for entry, picture in pictures.items() if first[picture.name] == entry}


def _picture_of(entry: str, family: str) -> Picture:
    found = load(family_of(family).picture)
    return (found.get(entry) if isinstance(found, Mapping) else found) or LOSS


def draw_found(found: Learned, part: str | None = None) -> Figure:
    """The picture of a searched entry; by default of the first one.

    Raises:
        BadInput: there is no such entry, or it has no picture.
    """
    pictures = pictures_of(found)
    if part is not None and part not in pictures:
        raise unknown("searched part", part, pictures)
    return draw(pictures[part or next(iter(pictures))], found)


def draw(picture: Picture, found: Learned) -> Figure:
    """The picture of an algorithm.

    Raises:
        BadInput: there is nothing to draw; or the picture of a user-defined algorithm fails.
    """
    try:
        return picture.draw(found, plots)
    except NothingToDraw as error:
        raise BadInput(str(error)) from error
    except Exception as error:
        if ":" not in found.spec.name or isinstance(error, BadInput):
            raise
        raise BadInput(f"the picture of algorithm {found.spec.name!r} raises {one_line(error)}") from error
