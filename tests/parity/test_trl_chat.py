"""Chat templates: those that TRL ships, and rows with tools and variables of the template, against TRL's trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2.exceptions import UndefinedError
from transformers import PreTrainedTokenizerBase

from preftune import DPOConfig, DPOTrainer
from preftune.data.tokens.chat import ChatFormat
from preftune.data.tokens.token_group import TokenGroup, common_prefix_length
from preftune.data.tokens.tokenize import tokenize_groups
from preftune.groups import Completion, Origin, PromptGroup
from preftune.model.generation.prompts import encode_prompts
from preftune.settings.chat import ChatChoice
from tests.data.tokenizers_for_tests import BOS, EOS, make_tokenizer
from tests.parity.side_by_side import largest_difference, make_llama, run, settings, small_heap, trl

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures(small_heap.__name__)]

TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
AUTO = ChatChoice()
QUESTION, ANSWER = "How do I bake 2 cakes? ", " Mix flour,\nsugar and eggs."


def rendered(tokenizer: PreTrainedTokenizerBase, *contents: str) -> str:
    """A conversation that alternates from the user; one that ends with the user's turn opens the answer."""
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    is_prompt = len(contents) % 2 == 1
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=is_prompt))


def tokens(tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str) -> TokenGroup:
    group = PromptGroup(prompt, (Completion(completion),), (), Origin("rows", 1))
    [found] = tokenize_groups([group], tokenizer, max_length=None, chat=AUTO).groups
    return found


def whole(group: TokenGroup) -> list[int]:
    return [*group.prompt.tolist(), *group.completions[0].tolist()]


def is_text_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """False for templates of vision models, which want lists of parts."""
    try:
        return ANSWER.strip() in rendered(tokenizer, QUESTION, ANSWER)
    except UndefinedError:
        return False


def test_trl_ships_templates_of_text() -> None:
    assert sum(is_text_template(make_tokenizer(chat_template=path.read_text(), bos=BOS)) for path in TEMPLATES) > 20


@pytest.mark.parametrize("begins", [False, True], ids=["", "begins"])
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_text_goes_through_each_template_as_messages_do_and_rendered_text_stays(path: Path, begins: bool) -> None:
    tokenizer = make_tokenizer(
        chat_template=path.read_text(), bos=BOS, eos=EOS, post_processing=f"{BOS} $A" if begins else ""
    )
    if not is_text_template(tokenizer):
        pytest.skip("a template for lists of parts")
    prompt, text = rendered(tokenizer, QUESTION), rendered(tokenizer, QUESTION, ANSWER)
    ids_of_prompt, ids = (list(tokenizer(one, add_special_tokens=False)["input_ids"]) for one in (prompt, text))
    found = tokens(tokenizer, QUESTION, ANSWER)
    shared = common_prefix_length([np.array(whole(found)), np.array(ids)])
    assert whole(found)[shared:] in ([], [tokenizer.eos_token_id])
    assert not str(tokenizer.decode(ids[shared:])).replace(EOS, "").strip()
    assert len(found.prompt) == common_prefix_length([np.array(ids_of_prompt), np.array(ids)])
    assert encode_prompts(tokenizer, [QUESTION], AUTO)[0].tolist() == ids_of_prompt
    assert ChatFormat.of(tokenizer, AUTO).kind(prompt) == "rendered"
    assert encode_prompts(tokenizer, [prompt], AUTO)[0].tolist() == ids_of_prompt
    if text.startswith(prompt):  # else the generation prompt opens more than the answer, such as <think>
        assert whole(tokens(tokenizer, prompt, text.removeprefix(prompt))) == whole(found)


WITH_ALL = (
    "{% if tools %}Two: {{ tools | tojson }}\n{% endif %}{% if thinks %}eight {% endif %}"
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_rows_with_tools_and_variables_of_the_template_give_the_losses_of_trl(tmp_path: Path) -> None:
    def turn(role: str, content: str) -> list[dict[str, str]]:
        return [{"role": role, "content": content}]

    rows: list[dict[str, Any]] = [
        {
            "prompt": turn("user", f"Two plus {'two ' * number}?"),
            "chosen": turn("assistant", "four"),
            "rejected": turn("assistant", f"flour {'eggs ' * number}"),
            "tools": [{"type": "function", "function": {"name": f"bake_{number % 3}", "description": "Bake."}}],
            "chat_template_kwargs": {"thinks": number % 2 == 0},
        }
        for number in range(16)
    ]
    given = settings(tmp_path)
    tokenizer = make_tokenizer(chat_template=WITH_ALL)

    def both(rows: list[dict[str, Any]]) -> list[list[dict[str, float]]]:
        further = {"ref_model": make_llama(1), "processing_class": tokenizer}
        return [
            run(DPOTrainer, DPOConfig, make_llama(), given, rows, **further),
            run(trl.DPOTrainer, trl.DPOConfig, make_llama(), given, rows, **further),
        ]

    names = ["loss", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"]
    ours, theirs = both(rows)
    assert max(largest_difference(ours, theirs, names).values()) < 1e-4
    bare, _ = both([{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows])
    assert largest_difference(bare, theirs, ["logps/chosen"])["logps/chosen"] > 1e-3
