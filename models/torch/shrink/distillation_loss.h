#ifndef EDGETUNE_MODELS_TORCH_SHRINK_DISTILLATION_LOSS_H_
#define EDGETUNE_MODELS_TORCH_SHRINK_DISTILLATION_LOSS_H_

// What a small language model (the student) learns from a larger one (the
// teacher), as functions that are differentiable in the student's tensors.
// Logits exist for a few rows at a time. Stateless. Torch-only header: included
// by torch .cc files alone.
//
// N positions, V tokens, D the student's hidden size, E the teacher's.

#include <ATen/ATen.h>

#include <cstdint>

namespace edgetune {

// How the parts are weighed. With the student's logits z, the teacher's t, a
// label y and the temperature T (Hinton, Vinyals, Dean, 2015, section 2):
//
//   alpha T^2 KL(softmax(t / T) || softmax(z / T))
//     + (1 - alpha) (-log softmax(z)_y) + entropy H(softmax(z))
//
// T^2 keeps the size of the first gradient, whatever T. A positive `entropy`
// asks for decided predictions (Grandvalet, Bengio, 2004).
struct DistillationWeights {
  double temperature = 1;
  double alpha = 0.5;
  double entropy = 0;
};

// A teacher at the same positions: its logits are hidden head^T. For a student
// of fewer tokens `head` has the rows of these alone, in the student's order:
// the softmax over them is the teacher's, renormalised.
struct TeacherOutput {
  at::Tensor hidden;  // [N,E] float32, behind the last norm
  at::Tensor head;    // [V,E] float32
};

// A teacher's k likeliest tokens at each position, and all others as one
// bucket: the divergence is then over k + 1 outcomes, so that the student keeps
// the mass the teacher has outside of the k (to renormalise over the k would
// make it surer than the teacher, by the more the flatter the teacher is). By
// the log-sum inequality it is never above that over V, and equals it at k = V.
struct TopTargets {
  at::Tensor ids;     // [N,k] int64, ascending
  at::Tensor values;  // [N,k] float32: logits / T, less any number a position
  at::Tensor rest;    // [N] log of the others' summed exponentials; or -inf
};

// Logits that are there at once: 12.6 MB, and of such matrices there are up to
// nine.
inline constexpr int64_t kDistillationLogits = 64 * 49152;

// The sum over positions, a float64 scalar. hidden [N,D] and head [V,D]
// float32, of the student; labels [N] int64; `rows` of logits at a time, 0: as
// many as kDistillationLogits allows.
at::Tensor SumDistillation(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& labels,
                           const TeacherOutput& teacher,
                           const DistillationWeights& weights,
                           int64_t rows = 0);
at::Tensor SumDistillation(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& labels, const TopTargets& targets,
                           const DistillationWeights& weights,
                           int64_t rows = 0);

// A teacher's k likeliest, without gradient: `values` and `rest` are natural
// logarithms of probabilities at this temperature. k <= V.
TopTargets TopTargetsOf(const TeacherOutput& teacher, double temperature,
                        int64_t k, int64_t rows = 0);

// The sum over positions of the mean squared difference between the student's
// hidden states [N,D], through `projection` [E,D], and the teacher's [N,E] (as
// Jiao et al., 2020, TinyBERT, equation 8): a float64 scalar. An undefined
// projection is the identity, of D = E.
at::Tensor SumHiddenMatch(const at::Tensor& hidden, const at::Tensor& teacher,
                          const at::Tensor& projection);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_TORCH_SHRINK_DISTILLATION_LOSS_H_
