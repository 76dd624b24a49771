"""NYUDv2 facts that its official file lacks: the splits, and the mapping of names to 40 classes.

Sources: ids from the reference release's data/nyud lists (Gupta's split of NYU's training set);
classes from Gupta et al.'s classMapping40.mat: each of the first 37 classes is the one name it is
called by, 68 names are otherstructure, 82 otherfurniture, and all others otherprop.
"""

COUNT = 1449  # images; id = index in the file + FIRST_ID
CROP = (slice(45, 470), slice(40, 600))  # rows, columns of 480x640, without the white frame
FIRST_ID = 5001


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(map(int, words.split()))


# Sets of indices, 0 to 1448, as bits of a number: bit i is image i.
_BITS = {
    "train": (
        "fc000018000006000e000300001f000800003fe00003ff801f00000f00003018000007f000380010"
        "00070000000e07f807f8001f0003ffe000c0000ff801f8001ffffffff8000f00000ff8001f000000"
        "000003fff0003000e0000c01e0007007807c00000e003fc0003f800000ff803c00007ffffffe0001"
        "fff00001fffc00003c0000000030000000fe01fc000003e007ffc00000007f000000007003ff8000"
        "0c00f8000000007800002001800000c00fc"
    ),
    "val": (
        "fe1f00003e00007ffe07f003f000fff80018000f0000001c0000c0007000007f001801c000003800"
        "0fe001000003fffc06001c000ff000f8000001803ff80007000ff0000000000fc001c000000fc000"
        "7ff800000000003fc007c001f80c0006003c01e000ffe00780003f800000038000e0000200000000"
        "000c000000f8000003ffe0007ffff0003fff80000300007fe0003f0001ffffffc0003c0000000200"
        "00fffe02000ffffff80007ff807f800007e01e00"
    ),
    "test": (
        "1ff01e0f03fc1fe7f8001980f1c0fcf00060fe77ff0fc01ffe3c0073e0f8fff0f80fce67e3fff80c"
        "7fc701efeff8ffc000319806380700e0f07c001fe73c0070078e0700e00000000703f0e3fff00703"
        "e0f8007ffffffc000c03cf831fe0733e1f9f8c386183f001f187c03c07c07fffc70071c3ffdf8000"
        "0001ff3e000ff07e0003c001c3f80000ffcc0007ff01ce03f801fc1c08002000000380fc3fffff8f"
        "dc00700013df070000007f878007d8067fff813e103"
    ),
}

OTHERSTRUCTURE = _numbers("""
8 25 33 38 51 53 57 58 62 65 79 94 104 112 134 153 215 216 223 225 238 241 242 256 295 301
339 342 354 363 372 380 392 408 412 453 456 463 477 497 541 550 553 567 573 582 591 609 612
615 642 645 657 658 659 663 667 668 686 700 702 777 778 782 850 861 868 874
""")
OTHERFURNITURE = _numbers("""
12 43 48 50 87 106 111 161 163 174 183 204 214 219 221 224 236 262 278 291 298 313 343 344
356 359 373 393 401 414 418 419 430 443 444 447 448 457 458 460 462 475 479 485 486 493 494
498 499 509 510 515 521 524 540 549 551 554 556 558 576 580 608 625 703 734 770 772 797 800
803 804 813 814 815 820 829 835 858 863 882 892
""")
NAMES_SHA256 = (  # of the 894 names, one per line
    "19d88732f670f38796dbc3093ae63af3fb8df20580a5509981997d61e1778e93"
)


def split_of() -> dict[str, list[int]]:
    """Indices in the official file, from 0, of each split: 381 train, 414 val, 654 test."""
    places = {}
    for split, digits in _BITS.items():
        bits = int(digits, 16)
        places[split] = [i for i in range(COUNT) if bits >> i & 1]
    return places
