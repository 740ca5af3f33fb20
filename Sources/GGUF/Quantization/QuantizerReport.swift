import Tensor

/// What one `Quantizer.next` has done, and where it stands.
package struct QuantizerReport {
  /// The number of the tensor that was worked on, in file order, and its name.
  package let tensorIndex: Int
  package let tensor: String
  package let from: TensorType
  package let to: TensorType
  /// Bytes of the source's tensors that are done, of all.
  package let done: Int
  package let total: Int
  /// Root of the mean squared difference that rounding made in this tensor so far, divided by that of its numbers;
  /// 0 where they were copied.
  package let error: Double
  /// Whether this was the last piece of the tensor.
  package let endsTensor: Bool
  /// The call took.
  package let seconds: Double
}
