// SPDX-License-Identifier: Apache-2.0
// A stack of networks in device memory: float32 parameters, and a copy in the order and the numbers
// that kernels read.
#pragma once

#include <memory>
#include <vector>

#include "kernels/job.h"
#include "kernels/layout.h"
#include "kernels/numbers.h"
#include "kernels/parameter_table.h"
#include "runtime/device.h"
#include "softmpc/network.h"

namespace softmpc::cuda {

/// Width that kernels pad `hidden` units to. Throws UsageError beyond the widest.
int kernel_width(int hidden, Number number);

/// The table of a net whose hidden layers a device can evaluate: equally wide, SiLU, all with
/// LayerNorm or none. Throws UsageError for others.
ParameterTable parameter_table(const NetSpec& spec);

class DeviceStack {
 public:
  /// `planned` outputs are packed (0: all). Allocates. Throws as parameter_table().
  DeviceStack(Device& device, int stack, NetSpec spec, Number number, Operands operands,
              int planned = 0);

  int stack() const { return stack_; }
  const NetSpec& spec() const { return spec_; }
  /// Float32 parameters, net after net [E, P].
  float* parameters() const { return parameters_->as<float>(); }

  /// Copies weights and normalisation to the device, and packs. Waits. Throws Error on another
  /// shape, or a weight that float16 does not hold.
  void upload(const NetWeights& weights);
  void upload_normalisation(const NetNormalisation& normalisation);
  /// Parameters back to the host; the normalisation is untouched. Waits.
  void download(NetWeights& weights) const;
  /// Launches the packing of the present parameters.
  void pack();
  /// Keeps a packed copy of this order too; float32 has one order only. Allocates, does not pack.
  void require(WeightOrder order);
  /// What a kernel reads.
  DeviceNet view(WeightOrder order = WeightOrder::fragments) const;
  /// What a kernel reads that takes the parameters as they are; its planned outputs.
  FlatNet flat() const;
  int planned() const { return planned_; }
  Operands operands() const { return operands_; }
  int width() const { return job_.width; }
  /// Units that LayerNorm of a hidden layer goes over; 0: there is none.
  int norm_units() const { return job_.norm_units; }

 private:
  std::size_t parameter_count() const { return spec_.parameters() * stack_; }
  void check(const NetWeights& weights) const;
  template <class Net>
  Net normalised(Net net) const;

  Device& device_;
  int stack_;
  NetSpec spec_;
  Number number_;
  Operands operands_;
  int planned_;
  std::unique_ptr<Memory> parameters_, normalisation_, staging_;
  struct Copy {
    std::unique_ptr<Memory> words, bias;
  };
  Copy copy_[2];  // by WeightOrder; empty where nobody needs it
  PackJob job_;   // all but its outputs
  std::shared_ptr<Kernel> pack_kernel_;
};

}  // namespace softmpc::cuda
