package main

import (
	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/admission/proposals/capacity"
)

// auditCapacityFlags say what is hinted about requests, limits and usage.
type auditCapacityFlags struct {
	on                    bool
	priceCPU, priceMemory string
	over, under, limit    int64

	prices capacity.Prices
}

func (f *auditCapacityFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.on, "capacity", false, "report requests, limits and usage by namespace, and where they do not fit; usage is read from metrics.k8s.io")
	flags.StringVar(&f.priceCPU, "price-cpu-hour", "", "`price` of one processor for an hour, in any currency; implies --capacity")
	flags.StringVar(&f.priceMemory, "price-gib-hour", "", "`price` of one GiB of memory for an hour; implies --capacity")
	flags.Int64Var(&f.over, "over-provisioned", capacity.DefaultOver, "`percentage` of a request below which its usage makes it too much")
	flags.Int64Var(&f.under, "under-provisioned", capacity.DefaultUnder, "`percentage` of a request above which its usage makes it too little")
	flags.Int64Var(&f.limit, "near-limit", capacity.DefaultLimit, "`percentage` of a memory limit above which its usage is near it")
}

func (f *auditCapacityFlags) check() error {
	for _, price := range []struct {
		flag, text string
		into       **capacity.Money
	}{{"--price-cpu-hour", f.priceCPU, &f.prices.CPUHour}, {"--price-gib-hour", f.priceMemory, &f.prices.GiBHour}} {
		if price.text == "" {
			continue
		}
		parsed, err := capacity.ParsePrice(price.text)
		if err != nil {
			return usagef("reading %s: %w", price.flag, err)
		}
		*price.into = parsed
	}
	for _, share := range []struct {
		flag  string
		value int64
	}{{"--over-provisioned", f.over}, {"--under-provisioned", f.under}, {"--near-limit", f.limit}} {
		if share.value < 1 || share.value > 10_000 {
			return usagef("reading %s %d: give a percentage from 1 to 10000", share.flag, share.value)
		}
	}
	if f.over >= f.under {
		return usagef("--over-provisioned %d and --under-provisioned %d contradict each other: the first has to be less", f.over, f.under)
	}
	return nil
}

// wanted says whether anybody asks.
func (f *auditCapacityFlags) wanted() bool { return f.on || f.priceCPU != "" || f.priceMemory != "" }

func (f *auditCapacityFlags) thresholds() capacity.Thresholds {
	return capacity.Thresholds{Over: f.over, Under: f.under, Limit: f.limit}
}
