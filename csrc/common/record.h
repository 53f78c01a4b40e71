// Records: structs that Python fills, field by field and by name.
//
// The declaration of the fields is kept as text, from which Python reads their names, types and places: nothing else
// lists them. Fields are pointers, numbers and other records; one that is a record is registered by its name.
#pragma once

#define M2T_FIELDS(...) \
    __VA_ARGS__         \
    static constexpr const char* fields() { return #__VA_ARGS__; }
