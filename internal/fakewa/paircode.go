package fakewa

type codePairing struct{}

func linkByCode(*iq) ([]node, error) { return nil, iqError{501, "feature-not-implemented"} }
