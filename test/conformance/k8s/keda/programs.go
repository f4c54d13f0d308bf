//go:build programs

// Package keda keeps the two programs of KEDA among the requirements of this module: they are built as they are.
package keda

import (
	_ "github.com/kedacore/keda/v2/cmd/adapter"
	_ "github.com/kedacore/keda/v2/cmd/operator"
)
