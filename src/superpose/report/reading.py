"""How to read each space and control that a table of scores may hold."""

SPACES_READ = {
    "raw": "The units as they were recorded.",
    "reconstruction": (
        "What the sparse dictionaries give back of those units: what is lost here is lost by the dictionaries, not by "
        "the other system."
    ),
    "predicted": (
        "What these packings would make of equal content: the closed form, on the learned decoders. It is a reference, "
        "not a correction."
    ),
    "latent": (
        "The sparse codes themselves. A score above the raw one can come from superposition, but also from selection "
        "(the dictionaries keep what is shared), from their nonlinearity, or from labels such as the identity of a "
        "token; a score below it can come from the dictionaries' own noise. The difference of the two does not measure "
        "superposition."
    ),
    "linear_selection": "The linear part that both systems share, as much of it as the dictionaries keep.",
    "nonlinear": "Kernel regression from units to units.",
    "latent_to_raw": "Latents that predict units.",
    "pca_code": "The largest principal components of each sample.",
    "two_seeds": "How well two dictionaries of one system agree.",
    "corrected": (
        "Latent scores with the dictionaries' own noise divided out. Read it only beside the same of untrained "
        "dictionaries."
    ),
    "closed_form": "The CKA of reconstructions by theory, from decoders and codes: it must equal the measured one.",
    "shuffled_fit": (
        "The same dictionaries, trained and scored after the samples of one system were permuted at random. It should "
        "lie at zero."
    ),
    "untrained": "Dictionaries drawn at random.",
    "within_labels": "Samples permuted within labels, and the dictionaries refitted.",
    "rotated": "Each system against a rotation of itself.",
    "planted": "Two Gaussian packings of each system's own codes.",
}
