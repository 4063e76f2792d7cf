"""What a translation must share with its English: pairs that do, and pairs that were broken on purpose."""

import pytest
from agreement import Term, differences

GOOD = [
    ("{row['about'] or 'text'} and {', '.join(found) or 'none'}", "{row['about'] or '글'} 및 {', '.join(found) or '없음'}"),
    ("{count:,} of {total:,} modules stay 16-bit.", "모듈 {total:,}개 중 {count:,}개는 16비트로 남습니다."),
    ("Set `MODEL`, see [the chapter](07_quantization.ipynb).", "`MODEL`을 정하십시오. [이 장](07_quantization.ipynb)을 보십시오."),
    ("It has 1.28 billion parameters.", "파라미터가 12억 8천만 개입니다."),
    ("102,400 entries, 30 layers", "항목 102,400개, 레이어 30개"),
    ("About 7 million of them", "약 700만 개"),
    ("a 3.4-million-parameter model", "파라미터가 340만 개인 모델"),
    ("$$b + \\frac{16}{g}$$ bits, as $g$ grows", "$g$가 커지면 $$b + \\frac{16}{g}$$비트"),
    ("{time:%Y-%m-%d %H:%M} UTC", "{time.year}년 {time.month}월 {time.day}일 {time:%H:%M} (UTC)"),
    ("{'all is there' if sound else 'they disagree'}.", "{'모두 있습니다' if sound else '서로 다릅니다'}."),
    ("samples [range: 1 ..]", "표본 수 [range: 1 ..]"),
    ("- **Bold** and <br> {{kept}}", "- **굵게** <br> {{kept}}"),
    ("| 1 | two |", "| 1 | 둘 |"),
]  # fmt: skip
BROKEN = [
    ("{row['about']} here", "여기 {row['설명']}", "placeholders"),
    ("{n} of {total}", "{n}개", "placeholders"),
    ("{n:,} bytes", "{n} 바이트", "placeholders"),
    ("{n} bytes", "{m} 바이트", "placeholders"),
    ("{'one way' if a else 'another way'}", "{'이 방법' if b else '다른 방법'}", "placeholders"),
    ("{time:%H:%M} UTC", "시각 UTC", "placeholders"),
    ("Run `exaone-nb doctor`.", "`exaone-nb 의사`를 실행하십시오.", "code"),
    ("[here](a.ipynb#Glossary)", "[여기](a.ipynb)", "links"),
    ("so $a_i$ grows", "$a_j$가 커집니다", "formulas"),
    ("from 16 to 8 bits", "16비트에서 4비트로", "numbers"),
    ("1.28 billion", "1억 2800만", "numbers"),
    ("line<br>line", "줄 줄", "tags"),
    ("samples [range: 1 ..]", "표본 수", "mark at the end"),
    ("## Title", "제목", "Markdown at the start"),
    ("  - nested", "- 안쪽", "Markdown at the start"),
    ("**a** and **b**", "**가**와 나", "bold"),
    ("| a | b |", "| 가 나 |", "cells of the row"),
    ("ends with a space ", "빈칸 없음", "space at the end"),
    ("{name} is missing", "{name}이(가) 없습니다", "particle"),
    ("into {folder}", "{folder}(으)로", "particle"),
    ("Calibration takes a minute.", "캘리브레이션에 1분이 걸립니다.", "term"),
]
TERMS = [Term("calibration", "보정"), Term("kernels?", "커널|kernel")]


@pytest.mark.parametrize(("english", "korean"), GOOD)
def test_a_good_translation_passes(english: str, korean: str) -> None:
    assert differences(english, korean, TERMS) == []
    assert differences(english, english, TERMS) == []


@pytest.mark.parametrize(("english", "korean", "what"), BROKEN)
def test_a_broken_one_is_told_by_what_is_broken(english: str, korean: str, what: str) -> None:
    assert what in [found.partition(":")[0] for found in differences(english, korean, TERMS)]


def test_a_term_counts_as_a_word_outside_code() -> None:
    assert differences("`kernel.py` and {kernel}", "`kernel.py` 및 {kernel}", TERMS) == []
    assert differences("The kernel", "이 kernel은", TERMS) == []
