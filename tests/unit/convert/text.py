"""English that no model has seen, for teacher-forced comparisons."""

PASSAGE = """\
The ferry left the harbour at twenty past six, a little later than the timetable had promised, and by the time the \
last car had been waved into its lane the light was already going. Marta found a bench on the upper deck, out of the \
wind, and unwrapped the sandwich she had bought at the station. She had told nobody that she was coming. It had seemed \
simpler that way: if the house turned out to be empty, or if her brother did not want to see her, she could take the \
first boat back in the morning and nobody would have to explain anything to anybody.

A boy of perhaps nine sat down at the other end of the bench and asked whether she knew how deep the water was. She \
said that she did not, but that her grandfather used to say it was exactly deep enough. The boy thought about this. \
"Deep enough for what?" he asked. "For boats," said Marta, "and for secrets, he said, though I think he only meant the \
things people drop by accident." The boy leaned over the rail and looked, as if keys and spectacles might be drifting \
past just under the surface.

How does a refrigerator work? A refrigerator moves heat from the inside of an insulated box to the room around it. A \
liquid called a refrigerant evaporates at low pressure in the coils inside the box, and in doing so it takes up heat \
from the food. A compressor then squeezes the vapour, which raises both its pressure and its temperature, and in the \
coils at the back the hot vapour gives its heat to the room and becomes liquid again. Finally the liquid passes \
through a narrow valve, the pressure falls, and the cycle starts over. Nothing is made cold; heat is only carried \
elsewhere, and the price of carrying it is the electricity that drives the compressor.

To compute the mean of a list of numbers in Python, you can write a short function:

def mean(values):
    if not values:
        raise ValueError("mean of an empty list")
    return sum(values) / len(values)
"""
