"""Bootstrap, objects and means over images by plain loops, to compare the fast ones with."""

from fractions import Fraction

from slow_scores import Tool, mean, nanmean, pairs_of

VOID = 255


def matrix_of(label, prediction, classes: int) -> list[list[int]]:
    """Confusion matrix of one image, by a loop over its pixels."""
    pairs = pairs_of([label.tolist()], [prediction.tolist()])
    return [[pairs[truth, guess] for guess in range(classes)] for truth in range(classes)]


def mean_iu_of_draw(matrices, drawn: list[int]) -> Fraction | None:
    """Mean IU of the sum of the drawn images' matrices; `drawn` may list an image several times."""
    size = len(matrices[0])
    total = [[sum(matrices[i][t][g] for i in drawn) for g in range(size)] for t in range(size)]
    return nanmean(Tool(total).ius())


def pieces(label) -> list[tuple[int, set[tuple[int, int]]]]:
    """Connected components of each class, 8 neighbours, by flood fill: class and pixels."""
    left = {(y, x) for y in range(len(label)) for x in range(len(label[0])) if label[y][x] != VOID}
    found = []
    while left:
        start = min(left)
        value, piece, todo = label[start[0]][start[1]], set(), [start]
        while todo:
            y, x = todo.pop()
            if (y, x) not in left or label[y][x] != value:
                continue
            left.remove((y, x))
            piece.add((y, x))
            todo += [(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1)]
        found.append((value, piece))
    return found


def torchmetrics_images(matrices) -> Fraction | None:
    return mean([iu for m in matrices for iu in Tool(m).ius() if iu is not None])


def smp_micro_images(matrices) -> Fraction | None:
    """tp, fp, fn summed over the classes of each image; zero_division=1."""
    scores = []
    for matrix in matrices:
        tool = Tool(matrix)
        union = sum(tool.union)
        scores.append(Fraction(sum(tool.hits), union) if union else Fraction(1))
    return mean(scores)


def smp_macro_images(matrices) -> Fraction | None:
    """`score.mean(0)`, then `.mean()`; zero_division=1."""
    return mean([Fraction(1) if iu is None else iu for m in matrices for iu in Tool(m).ius()])


def monai_images(matrices) -> Fraction | None:
    """NaN for a class without ground truth; mean over classes, then over images that have some."""
    scores = []
    for matrix in matrices:
        tool = Tool(matrix)
        if tool.seen():
            scores.append(mean([tool.ius()[k] for k in tool.seen()]))
    return mean(scores)
