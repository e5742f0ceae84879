"""The self-refining prompt (Wu et al., arXiv 2412.13823; pcc.md §1): propose, repair, refine until nothing moves."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pcc.clusters.partition import free_name, same
from pcc.clusters.prompts import Message, Prompts
from pcc.clusters.replies import read_reply
from pcc.clusters.transcript import Reply
from pcc.runtime.errors import InputError
from pcc.runtime.progress import log

Ask = Callable[[list[Message]], Reply]
DEALINGS = 3  # rounds without a change that end a refinement in parts: each brings other clusters together
SHOWN_FAULTS = 3
CUT = {
    "length": "the answer was cut at the limit of tokens (max_tokens); give only the JSON object",
    "content_filter": "the server's filter cut the answer; give only the JSON object",
}
LONGEST_QUOTE = 20_000  # characters of a faulty answer that are shown to the model again


class NeverValid(InputError):
    """An answer still has faults after all repairs."""


@dataclass(frozen=True)
class Outcome:
    """Where one conversation ended.

    Attributes:
        clusters: name → members, an exact partition.
        rounds: refinement rounds taken.
        settled: whether the last round changed nothing (the last `DEALINGS` rounds, where names are asked about in
            parts); False: the rounds ran out, or the partition came back to an earlier one and would go round for ever.
    """

    clusters: dict[str, list[str]]
    rounds: int
    settled: bool


@dataclass(frozen=True)
class Conversation:
    """How a model is talked to.

    Attributes:
        ask: messages to reply.
        prompts: the wording.
        max_rounds: refinement rounds.
        max_repairs: how often one answer may be sent back.
        names_per_request: more names than this are asked about in parts.
    """

    ask: Ask
    prompts: Prompts
    max_rounds: int
    max_repairs: int
    names_per_request: int

    def run(self, names: Sequence[str]) -> Outcome:
        """Group ``names``.

        Raises:
            NeverValid: an answer still has faults after ``max_repairs`` repairs.
        """
        clusters = self._propose(names)
        whole = len(names) <= self.names_per_request
        seen, unchanged = [clusters], 0
        for number in range(1, self.max_rounds + 1):
            clusters = self._refine(clusters, number)
            log.info("round %d: %d clusters", number, len(clusters))
            unchanged = unchanged + 1 if same(clusters, seen[-1]) else 0
            if unchanged == (1 if whole else DEALINGS):
                return Outcome(clusters, number, True)
            if whole and any(same(clusters, earlier) for earlier in seen):
                log.warning("the partition came back to an earlier one; it would not settle")
                return Outcome(clusters, number, False)
            seen.append(clusters)
        return Outcome(clusters, self.max_rounds, False)

    def _propose(self, names: Sequence[str]) -> dict[str, list[str]]:
        clusters: dict[str, list[str]] = {}
        for start in range(0, len(names), self.names_per_request):
            part = names[start : start + self.names_per_request]
            prompts = self.prompts.extend(clusters, part) if clusters else self.prompts.initial(part)
            for name, members in self._valid(prompts, part).items():
                clusters[name] = [*clusters.get(name, []), *members]
        return clusters

    def _refine(self, clusters: Mapping[str, Sequence[str]], round_number: int) -> dict[str, list[str]]:
        refined: dict[str, list[str]] = {}
        for part in parts(clusters, self.names_per_request, round_number):
            members = [name for group in part.values() for name in group]
            for name, group in self._valid(self.prompts.refine(part), members).items():
                refined[free_name(name, refined)] = group
        return refined

    def _valid(self, messages: list[Message], names: Sequence[str]) -> dict[str, list[str]]:
        """Ask until the answer is an exact partition of ``names``."""
        asked = messages
        for repair in range(self.max_repairs + 1):
            reply = self.ask(asked)
            try:
                found = read_reply(reply.text, names)
                if reply.finish not in CUT:
                    return found
                faults = [CUT[reply.finish]]  # what is whole may have been a draft
            except InputError as error:
                faults = [*([CUT[reply.finish]] if reply.finish in CUT else ()), *error.problems]
            log.info("answer %d has faults: %s", repair + 1, "; ".join(faults[:3]))
            quoted = {"role": "assistant", "content": reply.text[:LONGEST_QUOTE]}
            asked = [*messages, quoted, self.prompts.repair(faults, len(names))]
        first = "; ".join(faults[:SHOWN_FAULTS])
        raise NeverValid(f"the answer after {self.max_repairs} repairs still has faults: {first}")


def parts(clusters: Mapping[str, Sequence[str]], most: int, round_number: int) -> Iterator[dict[str, Sequence[str]]]:
    """Whole clusters, as many as fit into ``most`` names; every round deals them out in another order.

    Clusters that never meet in one request could never exchange a member.
    """
    names = list(clusters)
    if sum(map(len, clusters.values())) > most:
        names = [name for start in range(round_number) for name in names[start::round_number]]
    part: dict[str, Sequence[str]] = {}
    for name in names:
        if part and sum(map(len, part.values())) + len(clusters[name]) > most:
            yield part
            part = {}
        part[name] = clusters[name]
    yield part
