"""Who may know of an alert, pure: never the one it is about, and of one about staff the preset alone.

An alert about an adult of the school is kept apart: it is told to preset independent persons, and for all
other adults it does not exist. Where the preset are nobody, or nobody but the one it is about, it is told to
all other adults: no alert is ever left without anybody who may know of it for as long as there is an adult.
"""

from dataclasses import dataclass

from escalation.alert import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """The adults of a site who may act. The preset among them in the order in which they are asked."""

    adults: tuple[str, ...]
    independents: tuple[str, ...] = ()
    outside: frozenset[str] = frozenset()
    """Preset persons who know of alerts about staff alone: a chair of governors is no adult on duty."""

    def may_know(self, alert: Alert, member: str) -> bool:
        """Return whether an adult may know that an alert exists."""
        return member in self.knowing(alert)

    def knowing(self, alert: Alert) -> tuple[str, ...]:
        """Return the adults who may know of an alert, whoever is asked first comes first."""
        preset = tuple(m for m in self.independents if m != alert.about)
        if alert.apart and preset:
            return preset
        others = tuple(m for m in self.adults if m != alert.about)
        inside = tuple(m for m in others if m not in self.outside)
        return inside or others

    def alone(self, alert: Alert, member: str) -> bool:
        """Return whether an alert is kept apart and this adult alone may know of it: nobody else can sign."""
        return alert.apart and self.knowing(alert) == (member,)

    def told(self, alert: Alert) -> tuple[str, ...]:
        """Return the adults who are told of an alert at its rung.

        Of one that is kept apart the first preset person alone at first, the others from the next rung on.
        """
        knowing = self.knowing(alert)
        first_only = alert.apart and alert.rung == 0 and alert.state.unanswered
        return knowing[:1] if first_only and set(knowing) <= set(self.independents) else knowing
