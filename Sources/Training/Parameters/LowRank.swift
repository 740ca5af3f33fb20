/// The low-rank delta of one projection while it is trained: y += scale · Bᵀ' (A x), borrowed parts of a
/// parameter vector. B lies transposed, so that both matrices are read along rows of the rank.
struct LowRank {
  let rank: Int
  let inputs: Int
  let outputs: Int
  let scale: Float
  let a: UnsafeMutablePointer<Float>  // [rank, inputs]
  let b: UnsafeMutablePointer<Float>  // [rank, outputs]
  let aGradient: UnsafeMutablePointer<Float>  // [rank, inputs]
  let bGradient: UnsafeMutablePointer<Float>  // [rank, outputs]
}
