"""Why a capability did nothing."""


class Fault(Exception):
    """`word` is the contract's: "timeout", "quota" …"""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word
