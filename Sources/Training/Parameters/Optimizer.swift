import CIVGKernels
import Tensor

/// AdamW over a parameter vector (Loshchilov and Hutter 2019), by all threads of a team.
final class Optimizer: ParallelProgram {
  private let vector: ParameterVector
  private let team: ThreadTeam
  private let options: TrainerOptions
  private let kernels = Kernels.current
  private let norms: AlignedBuffer<Double>  // [pieces]
  private var step = civg_adamw()
  private var phase = Phase.norm

  private enum Phase { case norm, update }
  /// Numbers that one worker takes at a time: a sum's order does not depend on the number of threads.
  private static let piece = 1 << 14

  /// Throws `.outOfMemory`.
  init(vector: ParameterVector, team: ThreadTeam, options: TrainerOptions) throws(IVGError) {
    self.vector = vector
    self.team = team
    self.options = options
    norms = try AlignedBuffer(count: (vector.count + Self.piece - 1) / Self.piece)
  }

  /// The length of the gradient.
  func gradientNorm() -> Double {
    phase = .norm
    team.run(self)
    return norms.elements.reduce(0, +).squareRoot()
  }

  /// Step number `number`, from 1, with a gradient of length `norm`, which is clipped.
  func update(number: Int, rate: Float, norm: Double) {
    let limit = options.clipNorm.map(Double.init) ?? .infinity
    step.gradient_scale = norm > limit ? Float(limit / norm) : 1
    step.beta1 = options.beta1
    step.beta2 = options.beta2
    step.epsilon = 1e-8
    step.rate = rate
    step.decay = rate * options.weightDecay
    step.correction1 = Float(1 / (1 - power(Double(options.beta1), number)))
    step.correction2 = Float(1 / (1 - power(Double(options.beta2), number)))
    phase = .update
    team.run(self)
  }

  private func power(_ base: Double, _ exponent: Int) -> Double {
    var result = 1.0
    var square = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result *= square }
      square *= square
      rest >>= 1
    }
    return result
  }

  func run(_ worker: Worker) {
    for piece in worker.share(of: norms.count) {
      let first = piece * Self.piece
      let count = min(Self.piece, vector.count - first)
      switch phase {
      case .norm:
        norms.pointer[piece] = kernels.table.pointee.sum_of_squares(
          vector.gradients.pointer + first, count)
      case .update:
        var step = step
        kernels.table.pointee.adamw(
          &step, vector.values.pointer + first, vector.gradients.pointer + first,
          vector.firstMoments.pointer + first, vector.secondMoments.pointer + first, count)
      }
    }
  }
}
