import Glibc

/// Where the real models are that `make variants` brings.
package enum Models {
  /// The path of SmolLM2-135M-Instruct of a type such as `Q4_1`; nil, and a line that says so, if it is not
  /// there.
  package static func path(_ type: String) -> String? {
    path(file: "SmolLM2-135M-Instruct.\(type).gguf")
  }

  /// The same for a file of another name.
  package static func path(file: String) -> String? {
    let built = Fixtures.folder + "/../../.build/models"
    let folder = getenv("IVG_TEST_MODELS").map { String(cString: $0) } ?? built
    let path = "\(folder)/\(file)"
    if access(path, R_OK) == 0 { return path }
    print("skipped: no \(path); set IVG_TEST_MODELS to the folder of the models")
    return nil
  }

  /// The path of another real model by its file's name; nil if it is not there, which is the rule.
  package static func named(_ name: String) -> String? {
    let folder = getenv("IVG_TEST_MODELS").map { String(cString: $0) }
    let path = (folder ?? Fixtures.folder + "/../../.build/models") + "/" + name
    return access(path, R_OK) == 0 ? path : nil
  }
}
