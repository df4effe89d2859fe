#include "models/torch/operators.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace edgetune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// 64 rows of 49,152 logits are 12.6 MB.
constexpr int64_t kHeadRows = 64;

class RmsNormFunction : public Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& weight, double eps,
                            at::ScalarType type) {
    const at::Tensor inverse =
        x.square().mean(-1, /*keepdim=*/true).add_(eps).rsqrt_();  // [T,1]
    ctx->save_for_backward({x, weight, inverse});
    return (x * inverse).mul_(weight).to(type);
  }

  // With n = x * inverse and g = dy * weight: dx = inverse (g - n mean(g n)),
  // dweight = the sum of dy n over tokens, where it is trained.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor n = saved[0] * saved[2];                    // [T,D]
    const at::Tensor dy = grads[0].to(at::kFloat);               // [T,D]
    at::Tensor g = dy * saved[1];                                // [T,D]
    const at::Tensor mean = (g * n).mean(-1, /*keepdim=*/true);  // [T,1]
    g.sub_(n * mean).mul_(saved[2]);
    at::Tensor dweight;
    if (saved[1].requires_grad()) dweight = (dy * n).sum(0);
    return {g, dweight, at::Tensor(), at::Tensor()};
  }
};

at::Tensor RotateBy(const at::Tensor& x, const at::Tensor& cosine,
                    const at::Tensor& sine) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor a = x.narrow(-1, 0, half);
  const at::Tensor b = x.narrow(-1, half, half);
  return at::cat({(a * cosine).sub_(b * sine), (b * cosine).add_(a * sine)},
                 -1);
}

class RotateFunction : public Function<RotateFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& cosine, const at::Tensor& sine) {
    ctx->save_for_backward({cosine, sine});
    return RotateBy(x, cosine, sine);
  }

  // A rotation's transpose turns back.
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {RotateBy(grads[0], saved[0], -saved[1]), at::Tensor(),
            at::Tensor()};
  }
};

// Queries that share a key/value head become rows of one product.
// [S,H,d] -> [K,(H/K)*S,d]
at::Tensor GroupHeads(const at::Tensor& q, int64_t kv_heads) {
  const int64_t s = q.size(0), group = q.size(1) / kv_heads, d = q.size(2);
  return q.reshape({s, kv_heads, group, d})
      .permute({1, 2, 0, 3})
      .reshape({kv_heads, group * s, d});
}

// [K,(H/K)*S,d] -> [S,H,d]
at::Tensor UngroupHeads(const at::Tensor& x, int64_t s) {
  const int64_t kv_heads = x.size(0), group = x.size(1) / s, d = x.size(2);
  return x.reshape({kv_heads, group, s, d})
      .permute({2, 0, 1, 3})
      .reshape({s, kv_heads * group, d});
}

// -inf where a query may not look: query i of S sees keys 0..C-S+i. [S,C]
at::Tensor CausalMask(int64_t s, int64_t c) {
  return at::full({s, c}, -std::numeric_limits<float>::infinity(), at::kFloat)
      .triu_(c - s + 1);
}

// q [K,(H/K)*S,d], k [K,C,d], mask [S,C] -> [K,(H/K)*S,C]
at::Tensor Probabilities(const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& mask) {
  at::Tensor scores = at::bmm(q, k.transpose(1, 2));
  scores.mul_(1.0 / std::sqrt(static_cast<double>(q.size(2))));
  const int64_t s = mask.size(0);
  scores.view({q.size(0), q.size(1) / s, s, k.size(1)}).add_(mask);
  return at::softmax(scores, -1);
}

class AttentionFunction : public Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            const std::vector<int64_t>& lengths) {
    ctx->save_for_backward({q, k, v});
    ctx->saved_data["lengths"] = lengths;
    const int64_t kv_heads = k.size(1);
    at::Tensor out = at::empty_like(q);
    int64_t begin = 0;
    for (const int64_t s : lengths) {
      const at::Tensor p =
          Probabilities(GroupHeads(q.narrow(0, begin, s), kv_heads),
                        k.narrow(0, begin, s).transpose(0, 1),
                        CausalMask(s, s));  // [K,(H/K)*S,S]
      out.narrow(0, begin, s)
          .copy_(UngroupHeads(at::bmm(p, v.narrow(0, begin, s).transpose(0, 1)),
                              s));
      begin += s;
    }
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto lengths = ctx->saved_data["lengths"].toIntVector();
    at::Tensor dq = at::empty_like(saved[0]);
    at::Tensor dk = at::empty_like(saved[1]);
    at::Tensor dv = at::empty_like(saved[2]);
    int64_t begin = 0;
    for (const int64_t s : lengths) {
      const auto slice = [&](const at::Tensor& x) {
        return x.narrow(0, begin, s);
      };
      OneSequence(slice(saved[0]), slice(saved[1]), slice(saved[2]),
                  slice(grads[0]), slice(dq), slice(dk), slice(dv));
      begin += s;
    }
    return {dq, dk, dv, at::Tensor()};
  }

 private:
  // P = softmax(q k^T / sqrt d): dv = P^T dout, dP = dout v^T, dscores =
  // P (dP - rowsum(dP P)), dq = dscores k / sqrt d, dk = dscores^T q / sqrt d.
  static void OneSequence(const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, const at::Tensor& dout,
                          at::Tensor dq, at::Tensor dk, at::Tensor dv) {
    const int64_t s = q.size(0), kv_heads = k.size(1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
    const at::Tensor qg = GroupHeads(q, kv_heads);     // [K,(H/K)*S,d]
    const at::Tensor dg = GroupHeads(dout, kv_heads);  // [K,(H/K)*S,d]
    const at::Tensor kt = k.transpose(0, 1);           // [K,S,d]
    const at::Tensor p = Probabilities(qg, kt, CausalMask(s, s));
    dv.copy_(at::bmm(p.transpose(1, 2), dg).transpose(0, 1));
    at::Tensor ds = at::bmm(dg, v.permute({1, 2, 0}));  // [K,(H/K)*S,S]
    ds.sub_((ds * p).sum(-1, /*keepdim=*/true)).mul_(p).mul_(scale);
    dq.copy_(UngroupHeads(at::bmm(ds, kt), s));
    dk.copy_(at::bmm(ds.transpose(1, 2), qg).transpose(0, 1));
  }
};

class SwiGluFunction : public Function<SwiGluFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate,
                            const at::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return at::silu(gate).mul_(up);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {at::silu_backward(grads[0] * saved[1], saved[0]),
            at::silu(saved[0]).mul_(grads[0])};
  }
};

// Writes each row's loss; with `gradient` [N,D] also dloss/dhidden.
void ComputeNll(const at::Tensor& hidden, const at::Tensor& head,
                const at::Tensor& targets, at::Tensor nll,
                const at::Tensor* gradient) {
  for (int64_t begin = 0; begin < hidden.size(0); begin += kHeadRows) {
    const int64_t n = std::min(kHeadRows, hidden.size(0) - begin);
    at::Tensor logits = at::mm(hidden.narrow(0, begin, n), head.t());  // [n,V]
    const at::Tensor target = targets.narrow(0, begin, n).unsqueeze(1);
    const at::Tensor chosen = logits.gather(1, target);  // [n,1]
    const at::Tensor highest = std::get<0>(logits.max(1, /*keepdim=*/true));
    logits.sub_(highest).exp_();
    const at::Tensor total = logits.sum(1, /*keepdim=*/true);  // [n,1]
    nll.narrow(0, begin, n)
        .copy_((total.log().add_(highest).sub_(chosen)).squeeze(1));
    if (gradient == nullptr) continue;
    logits.div_(total);  // softmax
    logits.scatter_add_(1, target, at::full_like(chosen, -1.0));
    at::Tensor out = gradient->narrow(0, begin, n);
    at::mm_out(out, logits, head);
  }
}

class SumNllFunction : public Function<SumNllFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const at::Tensor& head, const at::Tensor& targets) {
    at::Tensor nll = at::empty({hidden.size(0)}, at::kFloat);
    const at::Tensor gradient = at::empty_like(hidden);
    ComputeNll(hidden, head, targets, nll, &gradient);
    ctx->save_for_backward({gradient});
    return nll.sum(at::kDouble);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return {saved[0] * grads[0].to(at::kFloat), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps,
                   at::ScalarType type) {
  return RmsNormFunction::apply(x, weight, eps, type);
}

RotaryTable MakeRotaryTable(const at::Tensor& positions, int64_t head_dim,
                            double theta, const at::Tensor& divisors) {
  const at::Tensor exponents =
      at::arange(0, head_dim, 2, at::kFloat).div_(head_dim);  // [d/2]
  at::Tensor frequencies = at::pow(theta, exponents).reciprocal_();
  if (divisors.defined()) frequencies.div_(divisors);
  const at::Tensor angles =
      at::outer(positions.to(at::kFloat), frequencies).unsqueeze(1);
  return {angles.cos(), angles.sin()};
}

at::Tensor Rotate(const at::Tensor& x, const RotaryTable& table) {
  return RotateFunction::apply(x, table.cosine, table.sine);
}

at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v,
                           const std::vector<int64_t>& lengths) {
  return AttentionFunction::apply(q, k, v, lengths);
}

at::Tensor CachedAttention(const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v) {
  const int64_t s = q.size(0);
  const at::Tensor p =
      Probabilities(GroupHeads(q, k.size(0)), k, CausalMask(s, k.size(1)));
  return UngroupHeads(at::bmm(p, v), s);
}

at::Tensor SwiGlu(const at::Tensor& gate, const at::Tensor& up) {
  return SwiGluFunction::apply(gate, up);
}

at::Tensor TokenNll(const at::Tensor& hidden, const at::Tensor& head,
                    const at::Tensor& targets) {
  at::Tensor nll = at::empty({hidden.size(0)}, at::kFloat);
  ComputeNll(hidden, head, targets, nll, /*gradient=*/nullptr);
  return nll;
}

at::Tensor SumNll(const at::Tensor& hidden, const at::Tensor& head,
                  const at::Tensor& targets) {
  return SumNllFunction::apply(hidden, head, targets);
}

}  // namespace edgetune
