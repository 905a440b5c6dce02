package report

// ShownThresholds is for tests.
var ShownThresholds = shownThresholds
