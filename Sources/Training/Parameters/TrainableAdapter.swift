import Glibc
import Tensor
import Transformer

/// A low-rank adapter whose numbers are part of a parameter vector.
package final class TrainableAdapter: @unchecked Sendable {
  /// Which adapter: projections, rank and scale.
  package struct Shape: Equatable, Sendable {
    /// The adapted projections of every layer.
    package var projections: Set<Projection>
    package var rank: Int
    /// The scale is alpha / rank.
    package var alpha: Float

    package init(projections: Set<Projection>, rank: Int, alpha: Float) {
      self.projections = projections
      self.rank = rank
      self.alpha = alpha
    }

    /// Numbers in an adapter of this shape for `trunk`.
    package func count(_ trunk: Trunk) -> Int {
      projections.reduce(0) { sum, projection in
        let (outputs, columns) = projection.shape(trunk.configuration)
        return sum + rank * (outputs + columns)
      } * trunk.configuration.layerCount
    }
  }

  package let shape: Shape
  package let trunk: Trunk
  private let deltas: [LowRank?]  // [layers × 7]
  private let vector: ParameterVector
  private let offset: Int

  /// Takes `shape.count(trunk)` numbers of `vector` from `offset` on.
  package init(shape: Shape, trunk: Trunk, vector: ParameterVector, offset: Int) {
    let layers = trunk.configuration.layerCount
    precondition(offset + shape.count(trunk) <= vector.count, "the vector is too short")
    var deltas = [LowRank?](repeating: nil, count: layers * 7)
    var next = offset
    for layer in 0..<layers {
      for projection in Projection.allCases where shape.projections.contains(projection) {
        let (outputs, columns) = projection.shape(trunk.configuration)
        let second = next + shape.rank * columns
        deltas[layer * 7 + projection.rawValue] = LowRank(
          rank: shape.rank, inputs: columns, outputs: outputs,
          scale: shape.alpha / Float(shape.rank), a: vector.values.pointer + next,
          b: vector.values.pointer + second, aGradient: vector.gradients.pointer + next,
          bGradient: vector.gradients.pointer + second)
        next = second + shape.rank * outputs
      }
    }
    self.shape = shape
    self.trunk = trunk
    self.vector = vector
    self.offset = offset
    self.deltas = deltas
  }

  /// The delta of one projection, or nil if it is not adapted.
  func delta(layer: Int, _ projection: Projection) -> LowRank? {
    deltas[layer * 7 + projection.rawValue]
  }

  /// A as random numbers, uniform within ±1 / √columns; B as zeros: the adapted model begins as the trunk.
  /// (As peft does: Kaiming uniform with a = √5.)
  package func initialize(seed: UInt64) {
    var random = SplitMix(state: seed)
    for case let delta? in deltas {
      let bound = 1 / Float(delta.inputs).squareRoot()
      for index in 0..<delta.rank * delta.inputs { delta.a[index] = random.float() * bound }
      for index in 0..<delta.rank * delta.outputs { delta.b[index] = 0 }
    }
  }

  /// Copies the numbers of an adapter file.
  ///
  /// Throws `.mismatch` if it adapts other projections or has another rank or scale.
  package func load(_ adapter: Adapter) throws(IVGError) {
    let kernels = Kernels.current
    for layer in 0..<trunk.configuration.layerCount {
      for projection in Projection.allCases {
        let mine = delta(layer: layer, projection)
        let theirs = adapter.delta(layer: layer, projection)
        guard mine != nil || theirs != nil else { continue }
        guard let mine, let theirs, theirs.a.outputs == mine.rank, theirs.scale == mine.scale
        else {
          throw IVGError(
            .mismatch,
            "\(adapter.path): blk.\(layer).\(projection.tensorName) has "
              + (theirs.map { "rank \($0.a.outputs) and scale \($0.scale)" } ?? "no delta")
              + "; this run trains "
              + (mine.map { "rank \($0.rank) and scale \($0.scale)" } ?? "none there"))
        }
        for row in 0..<mine.rank {
          theirs.a.dequantize(row: row, into: mine.a + row * mine.inputs, kernels: kernels)
        }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: mine.rank) { row in
          for output in 0..<mine.outputs {
            theirs.b.dequantize(row: output, into: row.baseAddress!, kernels: kernels)
            for index in 0..<mine.rank { mine.b[index * mine.outputs + output] = row[index] }
          }
        }
      }
    }
  }
}

/// Random numbers for initial weights (SplitMix64).
struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return Self.mix(state)
  }

  static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  /// Uniform in -1 ..< 1.
  mutating func float() -> Float { Float(next() >> 40) * 0x1p-23 - 1 }
}
