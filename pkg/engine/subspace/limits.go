// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// T2Limit is the value that Hotelling's T² of a new normal row with k components, fitted on n > k rows, exceeds with
// probability 1−confidence: k(n²−1)/(n(n−k)) times the quantile of F with k and n−k degrees of freedom.
//
// Source: N. D. Tracy, J. C. Young, R. L. Mason, Multivariate Control Charts for Individual Observations, Journal of
// Quality Technology 24(2), 1992, equation 3.
func T2Limit(k, n int, confidence float64) float64 {
	if k < 1 || n <= k {
		return math.Inf(1)
	}
	a, b := float64(k), float64(n)
	// Where F is x, the beta variate kx/(kx+n−k) has shape k/2, (n−k)/2; gonum's F has no quantile for large n−k.
	q := distuv.Beta{Alpha: a / 2, Beta: (b - a) / 2}.Quantile(confidence)
	f := q * (b - a) / (a * (1 - q))
	return a * (b*b - 1) / (b * (b - a)) * f
}

// QLimit is the value that the squared prediction error of a normal row exceeds with probability 1−confidence, from the
// eigenvalues of the components left out; 0 where all of them are 0.
//
// Source: J. E. Jackson, G. S. Mudholkar, Control Procedures for Residuals Associated with Principal Component Analysis,
// Technometrics 21(3), 1979, equation 3.4. Where their exponent h₀ is not positive, Box's scaled χ² approximation
// (Annals of Mathematical Statistics 25(2), 1954) takes its place.
func QLimit(residual []float64, confidence float64) float64 {
	var t1, t2, t3 float64
	for _, l := range residual {
		l = max(l, 0)
		t1 += l
		t2 += l * l
		t3 += l * l * l
	}
	if t1 == 0 || t2 == 0 {
		return 0
	}
	if h := 1 - 2*t1*t3/(3*t2*t2); h > 1e-3 {
		c := distuv.UnitNormal.Quantile(confidence)
		if base := c*math.Sqrt(2*t2*h*h)/t1 + 1 + t2*h*(h-1)/(t1*t1); base > 0 {
			return t1 * math.Pow(base, 1/h)
		}
	}
	return t2 / t1 * distuv.ChiSquared{K: t1 * t1 / t2}.Quantile(confidence)
}
