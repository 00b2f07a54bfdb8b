"""How to read each space and control that a table of scores may hold."""

SPACES_READ = {
    "raw": "The units as they were recorded.",
    "reconstruction": (
        "The units reconstructed from the sparse dictionaries: what is lost here is lost by the dictionaries, not by "
        "the other system."
    ),
    "predicted": (
        "The score that these packings would give equal content: the closed form, on the learned decoders. It is a "
        "reference, not a correction."
    ),
    "latent": (
        "The sparse codes themselves. A score above the raw one can come from superposition, but also from selection "
        "(the dictionaries keep what is shared), from their nonlinearity, or from labels such as the identity of a "
        "token; a score below it can come from the dictionaries' own noise. The difference of the two does not measure "
        "superposition."
    ),
    "linear_selection": "The linear part that both systems share, at the variance that the dictionaries explain.",
    "nonlinear": "Kernel regression between the units of both systems.",
    "latent_to_raw": "Units predicted from latents.",
    "pca_code": "The largest principal components of each sample.",
    "two_seeds": "How well two dictionaries of one system agree.",
    "corrected": (
        "Latent scores with the dictionaries' own noise divided out. Read it only beside the same score of untrained "
        "dictionaries."
    ),
    "closed_form": "The CKA of reconstructions by theory, from decoders and codes: it must equal the measured one.",
    "shuffled_fit": (
        "The same dictionaries, trained and scored after the samples of one system were permuted at random. It should "
        "be near zero."
    ),
    "untrained": "Dictionaries drawn at random.",
    "within_labels": "Samples permuted within labels, and the dictionaries refitted.",
    "rotated": "Each system compared with a rotation of itself.",
    "planted": "Two Gaussian packings of each system's own codes.",
}
