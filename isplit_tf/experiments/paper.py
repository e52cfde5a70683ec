"""What the paper reports, to be printed beside what was found here.

Cunico, Capogrosso et al., I-Split: Deep Network Interpretability for Split Computing, ICPR 2022. Its layer numbers
count VGG16's convolutions and poolings from 0, as positions on the axis of the main cuts do.
"""

VGG16_PEAKS = (5, 9, 11, 13, 15)
VGG16_BEST = 15
VGG16_CDE = (5, 9, 13)
HIGHEST_F1 = 0.87
CURVE_MINUTES = 150
RETRAINING_MINUTES = 360
CURVE_POINTS = 10
GROUP_CUTS = (15, 13)
GROUP_CLASSES = 15
BOX_SETS, BOX_IMAGES = 15, 800
