/// What a host wants to be told when its data is used no more. Nothing is told before `arm`: a call that fails leaves the
/// data with the host.
final class Finalizer {
  typealias Function = @convention(c) (UnsafeMutableRawPointer?) -> Void

  private let function: Function?
  private let userData: UnsafeMutableRawPointer?
  private var isArmed = false

  init(_ function: Function?, _ userData: UnsafeMutableRawPointer?) {
    self.function = function
    self.userData = userData
  }

  /// From here on `run` tells the host.
  func arm() { isArmed = true }

  func run() {
    if isArmed { function?(userData) }
  }
}
