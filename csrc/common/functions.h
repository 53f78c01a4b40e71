// Functions of records, by name: what Python's modules are made of (common/bindings.h), without Python.
//
// A source adds its own with a `Registered`, so that nothing lists the sources. Records arrive as their bytes, in the
// places that their text tells; m2t_fast/extension.py is the other side: it packs what the text names.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "common/isa.h"
#include "common/record.h"

namespace m2t {

template <typename A>
using Bare = std::remove_cv_t<std::remove_reference_t<A>>;

// What a function's name ends in.
template <typename T>
inline constexpr const char* kSuffix = "_bfloat16";
template <>
inline constexpr const char* kSuffix<void> = "";
template <>
inline constexpr const char* kSuffix<float> = "_float32";
template <>
inline constexpr const char* kSuffix<double> = "_float64";

// An argument: a number, or the bytes of records or of a text. A result: nothing, a number, or a record's bytes.
using Given = std::variant<std::int64_t, double, std::string_view>;
using Returned = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

struct Parameter {
    const char *name, *fields;  // without fields it is no record
    std::size_t bytes;
};

struct Function {
    std::string name;
    std::vector<Parameter> parameters;
    std::function<Returned(const Given*)> call;
};

inline std::string_view bytes_of(const Given& given) {
    if (const auto* bytes = std::get_if<std::string_view>(&given)) return *bytes;
    throw std::invalid_argument("got a number, expected bytes");
}

// An argument of type A out of what is given.
template <typename A, typename = void>
struct Argument {
    static constexpr Parameter described(const char* name) { return {name, "", 0}; }
    static A of(const Given& given) {
        if constexpr (std::is_constructible_v<A, std::string_view>) {
            return A(bytes_of(given));
        } else {
            if (const auto* whole = std::get_if<std::int64_t>(&given)) return static_cast<A>(*whole);
            if constexpr (std::is_floating_point_v<A>) {
                if (const auto* number = std::get_if<double>(&given)) return static_cast<A>(*number);
            }
            throw std::invalid_argument("got something else, expected a number of the parameter's type");
        }
    }
};

template <typename R>
struct Argument<R, std::void_t<decltype(R::fields())>> {
    static_assert(std::is_trivially_copyable_v<R>, "a record is made of bytes");
    static constexpr Parameter described(const char* name) { return {name, R::fields(), sizeof(R)}; }
    static R of(const Given& given) {
        const std::string_view bytes = bytes_of(given);
        if (bytes.size() != sizeof(R)) throw std::invalid_argument("a record has another size than its struct");
        R record;
        std::memcpy(&record, bytes.data(), sizeof(R));
        return record;
    }
};

// Several behind one another.
template <typename R>
struct Argument<std::vector<R>, std::void_t<decltype(R::fields())>> {
    static constexpr Parameter described(const char* name) { return Argument<R>::described(name); }
    static std::vector<R> of(const Given& given) {
        const std::string_view bytes = bytes_of(given);
        if (bytes.size() % sizeof(R) != 0) throw std::invalid_argument("records have another size than their struct");
        std::vector<R> records(bytes.size() / sizeof(R));
        if (!records.empty()) std::memcpy(records.data(), bytes.data(), bytes.size());
        return records;
    }
};

// The functions of a module, and the fields of records that are fields of others.
class Functions {
public:
    template <typename R>
    void record(const char* name) {
        records_.emplace_back(name, R::fields());
    }

    // NAME_DTYPE of the dtype T, or with void NAME. `names` are those of the function's parameters.
    template <typename T = void, typename Result, typename... A>
    void function(const std::string& name, Result (*function)(A...), std::vector<const char*> names) {
        if (names.size() != sizeof...(A)) throw std::logic_error(name + ": as many names as parameters");
        add(name + kSuffix<T>, function, names, std::index_sequence_for<A...>());
    }

    const std::vector<Function>& functions() const { return functions_; }
    const std::vector<std::pair<const char*, const char*>>& records() const { return records_; }

private:
    template <typename Result, typename... A, std::size_t... I>
    void add(std::string name, Result (*function)(A...), [[maybe_unused]] const std::vector<const char*>& names,
             std::index_sequence<I...>) {
        const auto call = [function]([[maybe_unused]] const Given* given) -> Returned {
            if constexpr (std::is_void_v<Result>) {
                function(Argument<Bare<A>>::of(given[I])...);
                return {};
            } else {
                const Result result = function(Argument<Bare<A>>::of(given[I])...);
                if constexpr (std::is_same_v<Result, bool> || std::is_floating_point_v<Result>) {
                    return Returned(result);
                } else if constexpr (std::is_integral_v<Result>) {
                    return static_cast<std::int64_t>(result);
                } else {
                    return std::string(reinterpret_cast<const char*>(&result), sizeof(result));
                }
            }
        };
        functions_.push_back({std::move(name), {Argument<Bare<A>>::described(names[I])...}, call});
    }

    std::vector<Function> functions_;
    std::vector<std::pair<const char*, const char*>> records_;
};

// The modules: m2t_fast._native, and its submodule cuda.
enum class Module { native, cuda };

inline Functions& functions_of(Module module) {
    static Functions native, cuda;
    return module == Module::cuda ? cuda : native;
}

// A source's functions: a constant of this type in it is enough.
struct Registered {
    explicit Registered(void (*add)(Functions&), Module module = Module::native) { add(functions_of(module)); }
};

}  // namespace m2t
