import CIVGKernels
import Tensor
import Transformer

/// A value head whose numbers are part of a parameter vector: scalar, V = w·h + b, or with an output for
/// every token, Q[v] = w_v·h.
package final class TrainableHead: @unchecked Sendable {
  package let kind: ValueHead.Kind
  package let trunk: Trunk
  /// Outputs: 1, or the vocabulary's.
  let outputs: Int
  let weights: UnsafeMutablePointer<Float>  // [outputs, hidden]
  let bias: UnsafeMutablePointer<Float>?  // [1], scalar heads only
  private let weightGradients: UnsafeMutablePointer<Float>  // [outputs, hidden]
  private let biasGradient: UnsafeMutablePointer<Float>?
  private let kernels = Kernels.current

  /// Numbers of such a head.
  package static func count(_ kind: ValueHead.Kind, _ trunk: Trunk) -> Int {
    switch kind {
    case .scalar: trunk.configuration.hiddenSize + 1
    case .vocabulary: trunk.configuration.hiddenSize * trunk.outputSize
    }
  }

  /// Takes `count(kind, trunk)` numbers of `vector` from `offset` on. They are zero in a new vector, so a new
  /// head values everything as 0.
  package init(kind: ValueHead.Kind, trunk: Trunk, vector: ParameterVector, offset: Int) {
    precondition(offset + Self.count(kind, trunk) <= vector.count, "the vector is too short")
    self.kind = kind
    self.trunk = trunk
    outputs = kind == .scalar ? 1 : trunk.outputSize
    let size = outputs * trunk.configuration.hiddenSize
    weights = vector.values.pointer + offset
    weightGradients = vector.gradients.pointer + offset
    bias = kind == .scalar ? weights + size : nil
    biasGradient = kind == .scalar ? weightGradients + size : nil
  }

  private var size: Int { trunk.configuration.hiddenSize }

  /// The output for `token` (any for a scalar head) of a final hidden state [hidden].
  package func value(_ final: UnsafePointer<Float>, token: Int32) -> Double {
    let row = weights + index(token) * size
    return Double(kernels.table.pointee.dot(row, final, size) + (bias?.pointee ?? 0))
  }

  /// Adds the gradient of that output times `scale`, and sets `direction` [hidden] to its derivative by the
  /// hidden state.
  package func differentiate(
    _ final: UnsafePointer<Float>, token: Int32, scale: Float,
    direction: UnsafeMutablePointer<Float>?
  ) {
    let place = index(token) * size
    kernels.table.pointee.add_scaled(weightGradients + place, final, scale, size)
    biasGradient?.pointee += scale
    guard let direction else { return }
    direction.update(repeating: 0, count: size)
    kernels.table.pointee.add_scaled(direction, weights + place, scale, size)
  }

  private func index(_ token: Int32) -> Int {
    guard kind == .vocabulary else { return 0 }
    precondition(token >= 0 && Int(token) < outputs, "a token outside the vocabulary")
    return Int(token)
  }

  /// The weights as the second operand of products.
  func matrix() throws(IVGError) -> WeightMatrix {
    try WeightMatrix(
      type: .f32, data: UnsafeRawBufferPointer(start: weights, count: outputs * size * 4),
      outputs: outputs, columns: size)
  }

  /// Copies the numbers of a head file.
  ///
  /// Throws `.mismatch` for a head of another kind or width.
  package func load(_ head: ValueHead) throws(IVGError) {
    guard head.kind == kind, head.outputSize <= outputs else {
      throw IVGError(
        .mismatch,
        "\(head.path): the head is \(head.kind.rawValue) with \(head.outputSize) outputs; this run "
          + "trains one that is \(kind.rawValue) with \(outputs)")
    }
    for row in 0..<head.outputSize {
      head.weight.dequantize(row: row, into: weights + row * size, kernels: kernels)
    }
    bias?.pointee = head.bias
  }
}
