/// What a norm multiplies and adds: borrowed views into the mapped file.
package struct NormWeights: @unchecked Sendable {
  package let weight: UnsafePointer<Float>?  // [width]; nil: ones
  package let bias: UnsafePointer<Float>?  // [width]; nil: zeros
}
