import Tensor

/// Everything that a run trains, as one vector of numbers, with the gradient and the optimiser's running
/// means beside it. Adapters and heads are named parts of it.
///
/// Threads: workers may write disjoint parts at the same time.
package final class ParameterVector: @unchecked Sendable {
  package let count: Int
  package let values: AlignedBuffer<Float>  // [count]
  package let gradients: AlignedBuffer<Float>  // [count]
  package let firstMoments: AlignedBuffer<Float>  // [count]
  package let secondMoments: AlignedBuffer<Float>  // [count]

  /// Throws `.outOfMemory`.
  package init(count: Int) throws(IVGError) {
    self.count = count
    values = try AlignedBuffer(count: count)
    gradients = try AlignedBuffer(count: count)
    firstMoments = try AlignedBuffer(count: count)
    secondMoments = try AlignedBuffer(count: count)
  }

  /// Bytes of a vector of that many numbers.
  package static func bytes(count: Int) -> Int { 4 * 4 * count }

  /// Swaps the numbers with those of another buffer of the same length.
  package func exchangeValues(_ other: AlignedBuffer<Float>) {
    precondition(other.count >= count, "a buffer of another length")
    for index in 0..<count {
      (values.pointer[index], other.pointer[index]) = (other.pointer[index], values.pointer[index])
    }
  }

  package func clearGradients() { gradients.pointer.update(repeating: 0, count: count) }
}
